"""Writes the golden bytes. For the day they are made, not for the day a test fails: see README.md.

Run from the repository's root: ``python tests/golden/make.py [--force]``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Writes what is not there yet; with --force, over what is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="overwrite what differs")
    force = parser.parse_args().force
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
    from golden.cases import golden, named

    from motioncodec.bitstream.header import _fold

    status = 0
    files = golden()
    if not (HERE / "named.hex").exists():
        files["named"] = named().file(_fold)
    for name, data in files.items():
        path = HERE / f"{name}.hex"
        text = "".join(data[i : i + 32].hex() + "\n" for i in range(0, len(data), 32))
        if path.exists() and path.read_text() == text:
            print(f"{path.name}: as it is, {len(data)} bytes")
        elif path.exists() and not force:
            status = 1
            print(
                f"{path.name}: expected the bytes that are there, found others. The format has "
                "changed: undo that, or make a new format version. --force overwrites.",
                file=sys.stderr,
            )
        else:
            path.write_text(text)
            print(f"{path.name}: written, {len(data)} bytes")
    return status


if __name__ == "__main__":
    sys.exit(main())
