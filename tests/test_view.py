"""Pages, sheets and films: what is in them, and the page in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, Browser
from click.testing import CliRunner, Result

from motioncodec.cli import main
from motioncodec.clip import Clip
from motioncodec.codec import Settings, decode_clip, encode_clip
from motioncodec.errors import UsageError
from motioncodec.io import read_clip, write_clip
from motioncodec.metrics import compare
from motioncodec.skeleton import Skeleton, find_skeleton
from motioncodec.view import staging
from motioncodec.view.drawing import write_film, write_sheet
from motioncodec.view.page import pack, write_page
from motioncodec.view.staging import drawn_bones, stage

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"
CAPTURE = ROOT / "examples" / "cmu_135_07.npz"

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver here"
)


def run(*arguments: object, input: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments], input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def through(clip: Clip, **settings: object) -> tuple[Clip, int]:
    stream = io.BytesIO()
    encode_clip(clip, stream, Settings(**settings))  # type: ignore[arg-type]
    return decode_clip(stream.getvalue()), len(stream.getvalue())


def unpacked(head: dict[str, object], arrays: bytes) -> list[np.ndarray]:
    """The arrays as the page's script reads them."""
    values = np.frombuffer(zlib.decompress(arrays), "<i2")
    shape = tuple(int(head[key]) for key in ("frames", "people", "joints", "dims"))  # type: ignore[call-overload]
    out, at = [], 0
    for _ in head["sides"]:  # type: ignore[attr-defined]
        steps = values[at : at + np.prod(shape)].reshape(shape)
        out.append(np.cumsum(steps, axis=0, dtype=np.int16))
        at += steps.size
        out.append(values[at : at + np.prod(shape[:3])].reshape(shape[:3]))
        at += out[-1].size
    placed = (*shape[:2], head["placed"]["joints"], shape[3])  # type: ignore[index]
    out.append(np.cumsum(values[at : at + np.prod(placed)].reshape(placed), axis=0, dtype=np.int16))
    at += out[-1].size
    if head["errors"]:
        out.append(values[at : at + np.prod(shape[:3])].view(np.uint16).reshape(shape[:3]))
        at += out[-1].size
    assert at == len(values)
    return out


# -- what is in it ---------------------------------------------------------------------------------


def test_a_page_holds_the_clips_and_their_errors(capture: Clip) -> None:
    back, size = through(capture)
    scene = stage([("a", 1000, capture), ("b", size, back)], "a and b")
    head, arrays = pack(scene)
    one, sure, other, _, placed, errors = unpacked(head, arrays)
    scale, offset = head["scale"], np.array(head["offset"])
    for values, clip in ((one, capture), (other, back)):
        there = ~clip.missing
        drawn = values[there] * scale + offset
        expected = clip.keypoints[there] * [1, 1, 1]
        up = {"y": lambda p: p, "z": lambda p: np.stack([p[:, 0], p[:, 2], -p[:, 1]], -1)}[clip.up]
        np.testing.assert_allclose(drawn, up(expected), atol=scale)
    assert ((sure > 0) == ~capture.missing).all()
    found = compare(capture, back)
    told = errors[errors != head["errors"]["missing"]] * head["errors"]["scale"]
    assert told.mean() == pytest.approx(found.mpjpe, rel=1e-3)
    assert told.max() == pytest.approx(found.max, rel=1e-3)
    assert ["Mean error", f"{found.mpjpe:,.2f} mm"] in head["figures"]
    assert ["Ratio", f"{1000 / size:,.1f} : 1"] in head["figures"]
    assert np.abs(placed[placed != -32768]).max() * head["placed"]["scale"] < 3


def test_people_in_pixels_are_as_high_as_people(detections: Clip) -> None:
    scene = stage([("a", None, detections)], "a")
    heights = [
        np.ptp(points[~np.isnan(points[:, 0])], axis=0).max()
        for points in scene.sides[0].points[:, 0]
        if (~np.isnan(points[:, 0])).sum() > 15
    ]
    assert 1.0 < np.median(heights) < 2.6
    head = scene.sides[0].points[..., 1]
    # Rows count downwards, heights upwards.
    assert np.nanmean(head[:, 0, 0]) > np.nanmean(head[:, 0, 15])


def test_names_from_files_are_no_markup() -> None:
    evil = "</script><script>alert(1)</script><!--"
    skeleton = Skeleton((evil, "b"))
    clip = Clip(np.zeros((3, 1, 2, 3)), 30, skeleton, people=("<img src=x onerror=alert(1)>",))
    stream = io.BytesIO()
    write_page(stage([(evil, 5, clip)], evil), stream)
    page = stream.getvalue().decode()
    assert "alert(1)</script>" not in page
    assert "<img src=x" not in page
    head = re.search(r'<script id="clip"[^>]*>(.*?)</script>', page, re.S)
    assert head is not None and json.loads(head[1])["names"][0] == evil


def test_a_page_asks_no_network_for_anything(capture: Clip) -> None:
    stream = io.BytesIO()
    write_page(stage([("a", None, capture)], "a"), stream)
    page = stream.getvalue().decode()
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    assert len(page) < 1_500_000


def test_worst_frame(capture: Clip) -> None:
    points = capture.keypoints.copy()
    points[77, 0, 3] += 1.0
    scene = stage([("a", None, capture), ("b", None, replace(capture, keypoints=points))], "x")
    assert scene.worst() == 77


def test_bones_around_a_torso_without_a_spine() -> None:
    coco = find_skeleton("coco-17")
    names = {frozenset((coco.joints[a], coco.joints[b])) for a, b in drawn_bones(coco)}
    assert frozenset(("left_shoulder", "right_shoulder")) in names
    assert frozenset(("left_shoulder", "left_hip")) in names
    whole = find_skeleton("canonical-20")
    assert drawn_bones(whole) == whole.bones


@pytest.mark.parametrize("dims", [2, 3])
def test_awkward_clips(dims: int) -> None:
    nowhere = Clip(np.full((2, 2, 3, dims), np.nan), 30, Skeleton(("a", "b", "c")))
    one = Clip(np.ones((1, 1, 1, dims)), 30, Skeleton(("a",)), units="px" if dims == 2 else "mm")
    for clip in (nowhere, one):
        scene = stage([("a", 3, clip), ("b", 3, clip)], "x")
        write_page(scene, io.BytesIO())
        write_sheet(scene, io.BytesIO())
        write_film(scene, io.BytesIO(), "gif")
    with pytest.raises(UsageError, match="found none"):
        stage([("a", 3, one.window(0, 0))], "x")


def test_too_much_is_told(monkeypatch: pytest.MonkeyPatch, capture: Clip) -> None:
    monkeypatch.setattr(staging, "MOST_KEYPOINTS", 200)
    with pytest.raises(UsageError, match="at most 10 frames with --frames"):
        stage([("a", None, capture)], "x")


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: Clip) -> Path:
    monkeypatch.chdir(tmp_path)
    write_clip(capture, "a.npz")
    assert run("encode", "a.npz").exit_code == 0
    return tmp_path


def test_every_kind_by_its_suffix(here: Path) -> None:
    from PIL import Image

    assert run("view", "a.npz", "a.mtok").exit_code == 0
    assert Path("a.html").read_bytes().startswith(b"<!doctype html>")
    for name in ("a.png", "a.gif"):
        result = run("view", "a.npz", "a.mtok", "-o", name, "--frames", "10:60")
        assert result.exit_code == 0, result.stderr
        with Image.open(name) as image:
            image.load()
            assert np.asarray(image.convert("RGB")).std() > 5
            assert getattr(image, "n_frames", 1) == (41 if name == "a.gif" else 1)
    assert run("view", "a.mtok", "-o", "b.html", "-q").stderr == ""


def test_a_film(here: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    assert run("view", "a.npz", "a.mtok", "-o", "a.mp4").exit_code == 0
    frames = imageio_ffmpeg.read_frames("a.mp4")
    told = next(frames)
    assert told["size"] == (720, 540)
    assert told["duration"] == pytest.approx(read_clip("a.npz").duration, abs=0.1)
    assert np.frombuffer(next(frames), np.uint8).std() > 5


def test_requests_that_cannot_be_meant(here: Path) -> None:
    for arguments, message in (
        (["a.npz", "-o", "a.pdf"], "expected a suffix of .html"),
        (["a.npz", "-o", "a.npz"], "expected a suffix"),
        (["-", "-"], "found it twice"),
        (["a.npz", "--frames", "9:9"], "expected a range within"),
    ):
        result = run("view", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    assert run("view", "a.npz").exit_code == 0
    assert "there already" in run("view", "a.npz").stderr
    assert run("view", "a.npz", "-f").exit_code == 0
    other = Clip(np.zeros((3, 1, 1, 3)), 30, Skeleton(("z",)))
    write_clip(other, "z.npz")
    assert run("view", "a.npz", "z.npz", "-o", "x.html").exit_code == 1
    assert not Path("x.html").exists()


def test_what_is_not_installed_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "motioncodec[view]" in run("view", "a.npz", "-o", "a.png").stderr
    assert run("view", "a.npz").exit_code == 0


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Clip, Clip, int]]:
    folder = tmp_path_factory.mktemp("pages")

    def make(clip: Clip, name: str) -> tuple[Path, Clip, Clip, int]:
        back, size = through(clip)
        with (folder / f"{name}.html").open("wb") as stream:
            write_page(stage([("original", 10**6, clip), ("decoded", size, back)], name), stream)
        return folder / f"{name}.html", clip, back, size

    return make


def text(browser: Browser, element: str) -> str:
    found: str = browser.run(f"return document.getElementById('{element}').innerText")
    return found


def frame(browser: Browser) -> int:
    return int(browser.run("return document.body.dataset.frame"))


def ink(browser: Browser) -> float:
    """How much of the canvas is not its most common colour."""
    data = browser.run("return document.getElementById('stage').toDataURL()")
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    _, counts = np.unique(pixels, axis=0, return_counts=True)
    return 1 - counts.max() / counts.sum()


@needs_chromium
@pytest.mark.parametrize("what", ["3d", "2d", "people", "hands"])
def test_the_page_in_a_browser(
    what: str, browser: Browser, paged: Callable[..., tuple[Path, Clip, Clip, int]],
    detections: Clip,
) -> None:  # fmt: skip
    clip = {
        "3d": lambda: read_clip(CAPTURE),
        "2d": lambda: replace(
            detections, keypoints=detections.keypoints[:, :1], people=(),
            confidence=None if detections.confidence is None else detections.confidence[:, :1],
        ),
        "people": lambda: detections,
        "hands": lambda: read_clip(DATA / "bvh" / "iclone_002_02.bvh"),
    }[what]()  # fmt: skip
    page, clip, back, size = paged(clip, what)
    browser.open(page)
    assert browser.said() == []
    found = compare(clip, back)
    figures = text(browser, "figures")
    for expected in (
        f"{size:,} bytes", f"{8 * size / clip.duration:,.0f} bit/s", f"{found.mpjpe:,.2f}",
        f"{found.max:,.2f}", f"{found.p99:,.2f}",
    ):  # fmt: skip
        assert expected in figures
    assert ink(browser) > 0.005
    last = clip.frames - 1
    assert frame(browser) == 0
    browser.press("ArrowRight")
    assert frame(browser) == 1
    browser.press("Shift+ArrowRight", "ArrowLeft")
    assert frame(browser) == 10
    browser.press("End")
    assert frame(browser) == last
    browser.press("Home")
    assert frame(browser) == 0
    browser.press("w")
    worst = stage([("a", 1, clip), ("b", 1, back)], "x").worst()
    assert frame(browser) == worst
    assert f"{found.max:,.1f}" in text(browser, "now")
    # Scrubbing, by the bar and by a click on the curves.
    browser.run(
        "const s = document.getElementById('scrub'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))", 5,
    )  # fmt: skip
    assert frame(browser) == 5
    box = browser.run(
        "const b = document.getElementById('timeline').getBoundingClientRect();"
        "return [b.x, b.y, b.width, b.height]"
    )
    browser.point(box[0] + box[2] * 0.75, box[1] + box[3] / 2, click=True)
    assert frame(browser) == pytest.approx(0.75 * clip.frames, abs=2)
    # Playing.
    browser.press("Home", " ")
    assert text(browser, "play") == "Pause"
    browser.wait("Number(document.body.dataset.frame) > 2")
    browser.press(" ")
    stopped = frame(browser)
    assert text(browser, "play") == "Play"
    assert frame(browser) == stopped
    # Side by side, dark, help.
    browser.press("o")
    assert browser.run("return document.body.dataset.view") == "apart"
    before = browser.run("return document.documentElement.dataset.theme")
    browser.press("d")
    assert browser.run("return document.documentElement.dataset.theme") != before
    browser.press("?")
    assert browser.run("return document.getElementById('keys').open")
    browser.press("Escape")
    assert not browser.run("return document.getElementById('keys').open")
    people = browser.run("return document.querySelectorAll('#people input').length")
    assert people == clip.persons
    if people > 1:
        seen = ink(browser)
        browser.run("document.querySelectorAll('#people input')[0].click()")
        assert ink(browser) < seen
    # All of it fits a laptop.
    assert browser.run("return document.documentElement.scrollHeight <= window.innerHeight")
    assert browser.said() == []


@needs_chromium
def test_a_clip_alone_and_a_joint_under_the_mouse(browser: Browser, tmp_path: Path) -> None:
    clip = read_clip(CAPTURE)
    with (tmp_path / "one.html").open("wb") as stream:
        write_page(stage([("capture", 260608, clip)], "capture"), stream)
    browser.open(tmp_path / "one.html")
    assert "Speed over time" in text(browser, "curve-name")
    assert not browser.run("return document.getElementById('worst').offsetParent !== null")
    place = browser.run(
        "const c = document.getElementById('stage'), b = c.getBoundingClientRect();"
        "for (let y = 0; y < b.height; y += 4) for (let x = 0; x < b.width; x += 4) {"
        "  const f = viewer.stage.pick(x, y); if (f) return [b.x + x, b.y + y, f.joint]; }"
    )
    browser.point(place[0], place[1])
    browser.wait("!document.getElementById('tip').hidden")
    assert text(browser, "tip") == clip.skeleton.joints[place[2]]
    assert browser.said() == []
