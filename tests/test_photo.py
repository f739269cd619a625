"""Photo intake: every hostile file is refused in words, every odd one comes through clean, and framing stays inside."""

import asyncio
import os
import signal
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clips.domain import Fit
from clips.errors import PhotoError
from clips.filetypes import identify
from clips.photo import Photo, PhotoLimits, crop_box, fit_photo, read_photo
from clips.photo_process import PhotoReader, ProcessLimits
from tests import hostile
from tests.processes import children

Colour = tuple[int, int, int]

LIMITS = PhotoLimits()
PATIENT = ProcessLimits(seconds=120)
"""For a machine that is busy with other tests: photos are read at the lowest priority."""
SAMPLE = Path(__file__).parents[1] / "samples" / "raccoon.jpg"


def picture(photo: Photo) -> Image.Image:
    return Image.open(BytesIO(photo.data))


def at(image: Image.Image, x: float, y: float) -> Colour:
    """The colour at a place given in shares of the width and height."""
    red, green, blue = np.asarray(image)[int(y * image.height), int(x * image.width)]
    return int(red), int(green), int(blue)


def pixel(photo: Photo, x: float, y: float) -> Colour:
    return at(picture(photo), x, y)


def near(one: Colour, other: Colour, by: int) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def chunks(png: bytes) -> set[bytes]:
    start, names = 8, set[bytes]()
    while start < len(png):
        (length,) = struct.unpack_from(">I", png, start)
        names.add(png[start + 4 : start + 8])
        start += 12 + length
    return names


@pytest.mark.parametrize("name", hostile.REFUSED)
def test_refuses(name: str) -> None:
    build, words = hostile.REFUSED[name]
    with pytest.raises(PhotoError, match=r".*\. (Send|Upload|Crop|Open).*\.$") as refusal:
        read_photo(build(), LIMITS)
    assert words in refusal.value.sentence


def test_refuses_by_bytes_before_it_looks() -> None:
    with pytest.raises(PhotoError, match=r"0\.1 MB; at most 0\.0\d+ MB fit"):
        read_photo(bytes(100_000), PhotoLimits(max_bytes=50_000))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("name", hostile.ODD_BUT_FINE)
def test_accepts(name: str) -> None:
    upload = hostile.ODD_BUT_FINE[name]()
    photo = read_photo(upload, LIMITS)
    assert (photo.width, photo.height) == (160, 120) == picture(photo).size
    tolerance = 30 if "CMYK" in name else 12
    corners = [pixel(photo, x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    wanted = (hostile.RED, hostile.GREEN, hostile.BLUE, hostile.GREY)
    assert all(near(one, other, tolerance) for one, other in zip(corners, wanted, strict=True)), corners
    assert chunks(photo.data) == {b"IHDR", b"IDAT", b"IEND"}
    assert hostile.SECRET not in photo.data


@pytest.mark.parametrize("name", hostile.ALPHA)
def test_transparency_becomes_white(name: str) -> None:
    assert pixel(read_photo(hostile.ALPHA[name](), LIMITS), 0.75, 0.25) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    photo = read_photo(hostile.sixteen_bit_grey(), LIMITS)
    tones = [pixel(photo, x, 0.5)[0] for x in (0.01, 0.25, 0.5, 0.75, 0.99)]
    assert tones == pytest.approx([2, 64, 128, 192, 253], abs=2)


def test_display_p3_is_converted() -> None:
    colour = (200, 110, 90)
    upload = hostile.saved(Image.new("RGB", (80, 80), colour), "PNG", icc_profile=hostile.display_p3_profile())
    linear = (np.array(colour) / 255) ** 2.2
    to_srgb = np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
                        [0.0719453, -0.2289914, 1.4052427]])  # fmt: skip
    light = to_srgb @ hostile.P3_TO_XYZ @ linear
    wanted = tuple(round(255 * (1.055 * value ** (1 / 2.4) - 0.055)) for value in light)
    got = pixel(read_photo(upload, LIMITS), 0.5, 0.5)
    assert wanted[0] > 208
    assert near(got, (wanted[0], wanted[1], wanted[2]), 2), (got, wanted)


def test_grey_with_alpha_and_profile() -> None:
    upload = hostile.saved(Image.new("LA", (80, 80), (100, 255)), "PNG", icc_profile=hostile.display_p3_profile())
    assert pixel(read_photo(upload, LIMITS), 0.5, 0.5) == (100, 100, 100)  # an RGB profile says nothing about grey


def test_scales_down_to_the_long_side_and_never_up() -> None:
    large = read_photo(hostile.saved(hostile.scene(4000, 3000), "JPEG"), LIMITS)
    assert (large.width, large.height) == (2560, 1920)
    tall = read_photo(hostile.saved(hostile.scene(300, 900), "PNG"), PhotoLimits(long_side=600))
    assert (tall.width, tall.height) == (200, 600)


def test_same_upload_same_name() -> None:
    upload = SAMPLE.read_bytes()
    assert read_photo(upload, LIMITS) == read_photo(upload, LIMITS)


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"\0\0\0\x18ftyp"])
)
def test_identify_and_read_survive_any_bytes(rest: bytes, start: bytes) -> None:
    assert identify(start + rest)[1]
    with pytest.raises(PhotoError):
        read_photo(start + rest, LIMITS)


# ---- in a process of its own


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it waits for another process
            await asyncio.sleep(0.005)


async def test_process_answers_as_the_function_does() -> None:
    reader = PhotoReader(process=PATIENT)
    before = children()
    upload = SAMPLE.read_bytes()
    assert await reader.read(upload) == read_photo(upload, LIMITS)
    assert await reader.read(hostile.heic()) == read_photo(hostile.heic(), LIMITS)
    with pytest.raises(PhotoError, match="a PDF document"):
        await reader.read(b"%PDF-1.7")
    assert not children() - before


async def test_loop_stays_free_while_many_are_read() -> None:
    reader, turns = PhotoReader(process=PATIENT, at_once=2), 0
    work = asyncio.gather(*(reader.read(SAMPLE.read_bytes()) for _ in range(6)))
    while not work.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert len({photo.sha256 for photo in await work}) == 1
    # Counted, not timed: on a machine that is slow for the loop, the six are slower too.
    assert turns > 20


async def test_balloon_is_refused() -> None:
    reader = PhotoReader(process=replace(PATIENT, memory=250 * 1024**2))
    big = hostile.saved(Image.new("RGBA", (7000, 7000), (1, 2, 3, 200)), "PNG", compress_level=1)
    with pytest.raises(PhotoError, match="more memory"):
        await reader.read(big)
    assert (await reader.read(SAMPLE.read_bytes())).width == 1024


async def test_hang_is_ended() -> None:
    before = children()
    with pytest.raises(PhotoError, match=r"within 0\.01 seconds"):
        await PhotoReader(process=ProcessLimits(seconds=0.01)).read(SAMPLE.read_bytes())
    assert not children() - before


async def test_crash_is_a_sentence() -> None:
    before = children()
    task = asyncio.create_task(PhotoReader().read(hostile.saved(hostile.noise(3000, 3000), "PNG", compress_level=0)))
    await until(lambda: children() - before)
    os.kill(next(iter(children() - before)), signal.SIGSEGV)
    with pytest.raises(PhotoError, match="decoder crash"):
        await task


async def test_cancelled_leaves_no_process() -> None:
    before, threads = children(), threading.active_count()
    task = asyncio.create_task(PhotoReader().read(hostile.saved(hostile.noise(3000, 3000), "PNG", compress_level=0)))
    await until(lambda: children() - before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not children() - before
    await until(lambda: threading.active_count() <= threads)


# ---- framing

sides = st.integers(1, 5000)


@given(sides, sides, sides, sides)
def test_crop_stays_inside_with_the_right_shape(width: int, height: int, clip_width: int, clip_height: int) -> None:
    left, top, right, bottom = crop_box((width, height), (clip_width, clip_height))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left) / (bottom - top) == pytest.approx(clip_width / clip_height, rel=1e-6)
    assert right - left == pytest.approx(width) or bottom - top == pytest.approx(height)  # the largest such part
    assert top <= height - bottom  # cut at the bottom rather than at the top


@given(st.integers(8, 300), st.integers(8, 300), st.integers(1, 150), st.integers(1, 150), st.sampled_from(Fit))
def test_fit_is_exact(width: int, height: int, clip_width: int, clip_height: int, fit: Fit) -> None:
    fitted = fit_photo(Image.new("RGB", (width, height), (90, 120, 30)), clip_width * 2, clip_height * 2, fit)
    assert fitted.size == (clip_width * 2, clip_height * 2)
    assert np.asarray(fitted).reshape(-1, 3).max(axis=0).tolist() == [90, 120, 30]


def test_tall_photo_keeps_its_head() -> None:
    photo = Image.new("RGB", (300, 900), "blue")
    photo.paste("red", (0, 150, 300, 300))  # a face in the upper third
    shown = fit_photo(photo, 320, 180)
    assert sum(at(shown, 0.5, y / 180)[0] > 200 for y in range(180)) > 140


def test_pad_shows_all_of_it() -> None:
    shown = fit_photo(hostile.scene(100, 300), 320, 180, Fit.PAD)
    assert near(at(shown, 0.45, 0.1), hostile.RED, 8)
    assert near(at(shown, 0.55, 0.9), hostile.GREY, 8)
    assert at(shown, 0.02, 0.5) != (0, 0, 0)
