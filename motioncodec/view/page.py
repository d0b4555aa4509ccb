"""A scene as one HTML file: data, drawing code (three.js, bundled) and styles, no network.

What comes from files (names of joints, people, metadata) is data to the page, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from importlib.resources import files
from string import Template
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.heatmap.placement import EXTENT
from motioncodec.heatmap.rendering import PLANES, SIGMA
from motioncodec.view.staging import Scene, bounds, drawn_bones

_REACH = 32_000
_NONE = 65_535
_GONE = -32_768
_AXES = "xyz"


def write_page(scene: Scene, stream: BinaryIO) -> None:
    """The page, UTF-8."""
    folder = files("motioncodec.view") / "page"
    script = (folder / "viewer.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head, arrays = pack(scene)
    top = f"{head['errors']['top']:,.3g} {scene.unit} and more" if head["errors"] else ""
    page = Template((folder / "template.html").read_text("utf-8")).substitute(
        script=script,
        script_hash=f"sha256-{digest}",
        # Neither a tag's end nor a comment's start may stand in a script.
        clip=json.dumps(head).replace("<", "\\u003c").replace("&", "\\u0026"),
        arrays=base64.b64encode(arrays).decode(),
        top=top,
    )
    stream.write(page.encode())


def pack(scene: Scene) -> tuple[dict[str, Any], bytes]:
    """What the page's script reads: a head and a deflated block of int16 arrays.

    The arrays are, for each side, positions as differences from frame to frame, and confidences
    from 0 (missing) to 255; then the placed joints as differences; then errors, where there are
    some. Differences wrap at 16 bits.
    """
    where = bounds(scene)
    low, high = where["least"], where["most"]
    offset = (low + high) / 2
    scale = max(float((high - low).max()) / 2 / _REACH, 1e-9)
    blocks = []
    for side in scene.sides:
        steps = np.nan_to_num(np.rint((side.points - offset) / scale), nan=0.0)
        blocks.append(_differences(np.clip(steps, -_REACH, _REACH)))
        sure = np.ceil(side.confidence * 255).astype(np.int16)
        blocks.append(sure.tobytes())
    reach = max(float(np.nanmax(np.abs(scene.placed), initial=EXTENT)), EXTENT)
    placed = np.where(np.isnan(scene.placed), _GONE, np.rint(scene.placed / reach * _REACH))
    blocks.append(_differences(placed))
    errors = None
    if scene.errors is not None:
        there = scene.errors[~np.isnan(scene.errors)]
        most = float(there.max(initial=0.0))
        step = max(most / (_NONE - 1), 1e-9)
        values = np.where(np.isnan(scene.errors), _NONE, np.rint(scene.errors / step))
        blocks.append(values.astype(np.uint16).tobytes())
        top = float(np.percentile(there, 99)) if len(there) else 1.0
        errors = {"scale": step, "missing": _NONE, "top": max(top, 1e-6)}
    span = where["high"] - where["low"]
    centre = (where["high"] + where["low"]) / 2
    head = {
        "title": scene.title,
        "subtitle": scene.subtitle,
        "dims": scene.dims,
        "frames": scene.frames,
        "people": len(scene.people),
        "joints": len(scene.skeleton),
        "names": list(scene.skeleton.joints),
        "ids": list(scene.people),
        "bones": [list(bone) for bone in drawn_bones(scene.skeleton)],
        "rate": scene.frame_rate,
        "first": scene.first,
        "unit": scene.unit,
        "scale": scale,
        "offset": [*map(float, offset), 0.0][:3],
        "centre": [*map(float, centre), 0.0][:3],
        "reach": max(float(span.max()) / 2, 0.9),
        "floor": float(where["least"][1]),
        "box": [max(float(span[0]), 0.5) * 1.15, max(float(span[1]), 0.5) * 1.15],
        "dot": 1.0 if len(scene.skeleton) <= 60 else 0.75,
        "sides": [{"name": side.name} for side in scene.sides],
        "figures": [list(row) for row in scene.figures],
        "placed": {
            "joints": int(scene.placed.shape[2]),
            "scale": reach / _REACH,
            "extent": EXTENT,
            "sigma": SIGMA,
            "missing": _GONE,
            "planes": [
                {"name": _AXES[u] + _AXES[v], "axes": [u, v], "flip": scene.dims == 3 and v == 1}
                for u, v in PLANES[scene.dims]
            ],
        },
        "errors": errors,
    }
    return head, zlib.compress(b"".join(blocks), 9)


def _differences(values: NDArray[np.floating]) -> bytes:
    whole = values.astype(np.int64)
    steps = np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1]))
    return steps.astype(np.int16).tobytes()
