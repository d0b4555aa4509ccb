"""Literal bytes that version 1 of the format writes and reads, for ever: tests/golden/README.md."""

from __future__ import annotations

import hashlib
import io
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import reference_decoder
from golden.cases import FILES, READ, Case, golden, symbols

from motioncodec.bitstream.between import PARTS
from motioncodec.bitstream.bones import FREE
from motioncodec.bitstream.container import Reader
from motioncodec.bitstream.entropy import (
    Decoder,
    Table,
    code_magnitude,
    code_natural,
    code_signed,
)
from motioncodec.bitstream.exact import Exact
from motioncodec.bitstream.header import KNOWN_KEYS, Header
from motioncodec.bitstream.network import NetworkPrior
from motioncodec.bitstream.numbers import Numbers
from motioncodec.bitstream.payload import PersonChunk, decode_chunk
from motioncodec.bitstream.prior import LevelPrior
from motioncodec.interpolation import places_of
from motioncodec.lossless import exact_values

GOLDEN = Path(__file__).parent / "golden"
LATER_TABLES_SHA256 = "581e45217c7b02b94eb030ef879b9a9b8bf9b1512504d9793bb69542394e9a13"
BINARY_TABLES_SHA256 = {
    "names.bin": "eada99a96fb040eccc4f60326086c7af1c5af7de7ec8bb95b375206e5609c844",
    "numbers.bin": "e3224e167a1d5415dd126309dd0c201a9a6008407a49eae090d329789196facb",
    "channels.bin": "89c6478247b225e1f7fd8e99e3abc54dbe4d5d1ac690c642b91dededf41140ee",
    "refinement.bin": "7588c72449799e411ed23347e54baf69b2a60f61bef01a82dcfa806cdf376b57",
    "predictors.bin": "f9acdb15ac813c7a612b50b12d14d17f3506c74b08ffee662ea6944e5af59a66",
    "corrections.bin": "7c38dddb9c795d1bc0e202f3897e4198a2b2bf05d18231ee202ee33ea5aca816",
    "between.bin": "5dc0d595e1e7fcfd13d39742e7fab4589ae9a1a1bd1973f32d6fe5e45d2f52ba",
    "beginnings.bin": "64509ca4c745c764f2bed00dee845f07a7e70252b472c3a7ecf5ee924fbc5cea",
    "spectrum.bin": "365762d0edcfcf4b77037c2aa3b37d8efed371938bec22c5727f53b433faf2c6",
    "turning.bin": "5cf02f44d63906a992801df7183aa98afbaaa34dd825da2e7e8f008a5cd7282e",
    "bands.bin": "cd193acd6e803b80726da0954d8b9344aa9567c79b0acdc6b3cb164195a27d1b",
    "rest.bin": "b39a75df83b230795a914f3bc0d285fe9a4ab667ce23065920e729472316b6dc",
    "components.bin": "7c1ea22a34cc6ef3c518e5f14876ffa34a33900a42a1b740b887d34fb9fb22bc",
    "free_bands.bin": "26dc67989b9ad3af8d5124bd5b84f134dd42b4b5299a0d1d4f9d4490e5be0bed",
    "free_components.bin": "5b9ad238a9221061948c8a55c1098bb316dbe1d6aef07e4734a87c664b5d78fd",
    "free_turning.bin": "5c408213fa12dc863049f02985682e9772d824d38feebb6566dccafb2f66c824",
    "paths.bin": "23ab65899f9f1d303b4cb6e00f3c80cbc9722e5b7b739783535e99c230770fea",
    "footing.bin": "6fd646572a58248ff8af041e66f0073d34953aa7d6f041789f5b787b631dd0b1",
    "curves.bin": "e1e33ade2ca0cfd1be780af3a35e2af28d0971f61cd815834a9cfaa7b8adb8d2",
}
TABLES_SHA256 = "7fc2a37752ca9bd67f483477aa21837697c5deed211548fdf5b98da35af48f40"


def stored(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_every_case_is_stored() -> None:
    assert {path.stem for path in GOLDEN.glob("*.hex")} == {"symbols", *READ}


@pytest.mark.parametrize("name", ["symbols", *FILES])
def test_the_numbers_encode_to_the_golden_bytes(name: str) -> None:
    assert golden()[name].hex() == stored(name).hex()


def test_the_golden_symbols_decode() -> None:
    tables, steps = symbols()
    decoder, models = Decoder(stored("symbols")), [Table(table) for table in tables]
    reference = reference_decoder.Range(stored("symbols"))
    for how, which, value in steps:
        if how == "symbol":
            found = decoder.code(0, models[which]), reference.table(tables[which])
        elif how == "bits":
            found = decoder.bits(0, which), reference.bits(which)
        elif how == "natural":
            found = code_natural(decoder, 0), reference.natural()
        elif how == "signed":
            found = code_signed(decoder, 0), reference.signed()
        else:
            found = code_magnitude(decoder, 0, models[which]), reference.magnitude(tables[which])
        assert found == (value, value), (how, which)


def told(numbers: Numbers | None) -> list[object]:
    if numbers is None:
        return []
    parts = numbers.first, numbers.orders, numbers.shares, numbers.forms, numbers.differences
    return [numbers.floats, numbers.learned, numbers.links, numbers.companions, *parts]


def exact(one: Exact | None) -> list[object]:
    return [] if one is None else [one.scale, *told(one.numbers), one.strays, one.words, one.gone]


def same(found: PersonChunk, expected: PersonChunk) -> bool:
    def arrays(person: PersonChunk) -> list[object]:
        curves = [c for c in (person.origin, person.extra) if c is not None]
        return [
            person.missing, person.turn, person.confidence, person.bones, *person.tokens,
            person.spectrum and person.spectrum.numbers, person.shape,
            person.fine, person.corrections, *told(person.numbers), person.between,
            person.spacing.exponent, *exact(person.exact),
            *exact(person.exact_confidence),
            *[c.knots for c in curves], *[c.sines for c in curves],
        ]  # fmt: skip

    mine, theirs = arrays(found), arrays(expected)
    return len(mine) == len(theirs) and all(
        np.array_equal(a, b)  # type: ignore[arg-type]
        for a, b in zip(mine, theirs)
    )


@pytest.mark.parametrize("name", READ)
def test_the_golden_files_decode(name: str) -> None:
    case: Case = READ[name]()
    reader = Reader(
        io.BytesIO(stored(name)), KNOWN_KEYS, chunks_of=lambda packed: Header.unpack(packed).chunks
    )
    assert Header.unpack(reader.header) == case.header
    assert reader.verify() == []
    for payload, layout, people in zip(reader, case.layouts, case.people, strict=True):
        decoded = decode_chunk(payload, len(people), layout)
        for found, expected in zip(decoded, people, strict=True):
            assert same(found, expected)
        reference = reference_decoder.chunk(
            payload, people=len(people), frames=layout.frames, joints=layout.joints,
            dims=layout.dims, windows=layout.windows, extra=layout.extra,
            confidence_bits=layout.confidence_bits,
            priors=[
                (p.frequencies.tolist(), p.class_of.tolist())
                for p in layout.priors
                if isinstance(p, LevelPrior)
            ],
            learned=[
                {name: value.tolist() for name, value in vars(p.tensors).items()}
                for p in layout.priors
                if isinstance(p, NetworkPrior)
            ],
            steps=layout.steps, bounded=layout.bounded, lossless=layout.exact, fine=layout.fine,
            jointed=layout.jointed, covered=layout.covered, stride=layout.stride,
            outside=layout.outside, later=layout.learned, spaced=layout.spaced,
            terse=layout.terse, spectral=layout.spectral,
        )  # fmt: skip
        for lists, expected, found in zip(reference, people, decoded, strict=True):
            assert lists["missing"] == expected.missing.T.tolist()
            if expected.placed and layout.priors:
                assert lists["tokens"] == [level.T.tolist() for level in expected.tokens]
            if expected.placed and expected.spectrum is not None:
                assert lists["spectrum"]["numbers"] == expected.spectrum.numbers.tolist()
                assert found.spectrum is not None
                assert lists["spectrum"]["vectors"] == found.spectrum.vectors.tolist()
            if expected.placed and layout.free:
                assert expected.origin is not None
                assert lists["path"]["knots"] == expected.origin.knots.T.tolist()
                sines = expected.origin.sines.transpose(1, 0, 2)
                assert lists["path"]["sines"] == sines.tolist()
            if expected.present and expected.bones is not None:
                rigid = np.flatnonzero(expected.bones != FREE).tolist()
                assert lists["bones"] == {j: int(expected.bones[j]) for j in rigid}
            here = np.argwhere(~expected.missing).tolist()
            if expected.numbers is not None:
                present = ~expected.missing
                values = places_of(expected.numbers, expected.spacing, expected.between, present)
                if expected.spacing.exponent:
                    values = values * PARTS
                if expected.between is not None:
                    put = np.argwhere(expected.between.any(axis=-1)).tolist()
                    assert lists["between"] == {
                        (f, j): expected.between[f, j].tolist() for f, j in put
                    }
                assert lists["numbers"] == {(f, j): values[f, j].tolist() for f, j in here}
            elif expected.exact is not None and expected.exact_confidence is not None:
                for name in ("exact", "exact_confidence"):
                    words = exact_values(getattr(expected, name), expected.missing).view(np.uint32)
                    assert lists[name] == words.ravel().tolist()
            elif expected.fine is not None:
                assert lists["fine"] == expected.fine.tolist()
                if expected.shape is not None:
                    offsets, choices = lists["shape"]
                    assert choices == expected.shape[-1].tolist()
                    numbers = np.zeros_like(expected.shape)
                    for at, number in offsets.items():
                        numbers[at] = number
                    numbers[-1] = choices
                    assert numbers.tolist() == expected.shape.tolist()
                if expected.corrections is None:
                    continue
                put = np.argwhere(expected.corrections.any(axis=-1)).tolist()
                assert lists["corrections"] == {
                    (f, j): expected.corrections[f, j].tolist() for f, j in put
                }


def test_the_layouts_are_those_that_the_headers_give() -> None:
    for make in READ.values():
        case = make()
        assert case.header.chunks == len(case.layouts)
        for c, layout in enumerate(case.layouts):
            (start, stop), (first, last) = case.header.span(c), case.header.frame_span(c)
            assert (layout.frames, layout.windows) == (last - first, (stop - start) // 32)


def test_the_tables_are_part_of_the_format() -> None:
    def digest(tables: object) -> str:
        text = json.dumps(tables, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    later = {f"{kind}_{depth}" for kind in ("bones", "hips") for depth in (1, 2, 3)}
    tables = reference_decoder.TABLES
    assert digest({k: v for k, v in tables.items() if k not in later}) == TABLES_SHA256
    assert digest({k: v for k, v in tables.items() if k in later}) == LATER_TABLES_SHA256
    for name, expected in BINARY_TABLES_SHA256.items():
        raw = (files("motioncodec.bitstream") / name).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == expected
