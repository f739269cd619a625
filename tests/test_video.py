"""The streaming encoder and the smaller copy, with real ffmpeg on real files."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clips.errors import SetupError
from clips.ffmpeg import VideoError, command, probe
from clips.fitting import fit_below
from clips.sound import Sound
from clips.stills import recompressed
from clips.video import Encoder
from tests.processes import children

Frames = NDArray[np.uint8]
SIZE = (192, 108)


def grain(count: int, width: int = SIZE[0], height: int = SIZE[1], seed: int = 1) -> Frames:
    """Noise: nothing is harder to compress."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def solid(colour: tuple[int, int, int], count: int = 12) -> Frames:
    return np.full((count, SIZE[1], SIZE[0], 3), colour, np.uint8)


def decoded(path: Path) -> Frames:
    """Every frame of a clip as RGB, converted as its own tags say."""
    clip = probe(path)
    to_rgb = "scale=flags=accurate_rnd+full_chroma_int,format=rgb24"
    raw = subprocess.run(command("-i", path, "-vf", to_rgb, "-f", "rawvideo", "-"), capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, clip.height, clip.width, 3)


def encode(path: Path, frames: Frames, fps: int = 24, chunk: int = 7) -> Path:
    with Encoder(path, frames.shape[2], frames.shape[1], fps) as encoder:
        for start in range(0, len(frames), chunk):
            encoder.write(frames[start : start + chunk])
        encoder.finish()
    return path


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(command(*arguments), check=True, timeout=60)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- the encoder


def test_every_frame_arrives_in_order(tmp_path: Path) -> None:
    grey = np.arange(20, 80, dtype=np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None] * 3, (60, SIZE[1], SIZE[0], 3)).astype(np.uint8)
    with Encoder(tmp_path / "a.mp4", *SIZE, 24) as encoder:
        encoder.write(frames[:25])
        encoder.write(frames[25:26])
        encoder.write(frames[26:])
        made = encoder.finish()
    assert made == probe(made.path)
    assert (made.width, made.height, made.frames, made.fps, made.seconds) == (*SIZE, 60, 24.0, 2.5)
    assert made.bytes == made.path.stat().st_size
    assert not made.has_sound
    shown = decoded(made.path)
    assert len(shown) == 60
    assert np.abs(shown[:, 50, 50, 0].astype(int) - frames[:, 50, 50, 0]).max() <= 3
    assert names(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50), (30, 180, 90), (128, 128, 128), (255, 255, 255)]
)
def test_colours_are_bt709(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    path = encode(tmp_path / "a.mp4", solid(colour))
    assert np.abs(decoded(path)[6, 40, 40].astype(int) - colour).max() <= 3


def test_file_is_tagged_plain_and_starts_at_once(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", grain(12))
    described = subprocess.run([*command()[:1], "-i", path], capture_output=True, text=True, check=False).stderr
    assert "h264 (High)" in described
    assert "yuv420p(tv, bt709, progressive)" in described
    assert "creation_time" not in described
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_same_frames_same_bytes(tmp_path: Path) -> None:
    one, other = (encode(tmp_path / name, grain(30), chunk=chunk) for name, chunk in (("a.mp4", 7), ("b.mp4", 30)))
    assert one.read_bytes() == other.read_bytes()


def tone(seconds: float, rate: int, channels: int = 2) -> NDArray[np.float32]:
    """A quiet A in all channels: (channels, n)."""
    wave = 0.25 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.broadcast_to(wave.astype(np.float32), (channels, len(wave)))


def heard(path: Path, channels: int) -> NDArray[np.float32]:
    """The sound of a clip: (n, channels) at 48 kHz."""
    raw = subprocess.run(
        command("-i", path, "-map", "0:a:0", "-f", "f32le", "-ar", "48000", "-"),
        capture_output=True,
        check=True,
    )
    return np.frombuffer(raw.stdout, np.float32).reshape(-1, channels)


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(2.0, 24000, 2), (5.0, 44100, 1), (0.5, 16000, 2)])
def test_sound_is_as_long_as_the_picture_and_as_loud_as_it_came(
    tmp_path: Path, seconds: float, rate: int, channels: int
) -> None:
    silent = encode(tmp_path / "silent.mp4", grain(48))
    with Encoder(tmp_path / "a.mp4", *SIZE, 24) as encoder:
        encoder.sound(Sound.of(tone(seconds, rate, channels), rate))
        encoder.write(grain(48))
        made = encoder.finish()
    assert made.has_sound and made.sound_bytes > 0
    assert (made.frames, made.seconds) == (48, 2.0)
    assert np.array_equal(decoded(made.path), decoded(silent)), "the picture is as without sound"
    sound = heard(made.path, channels)
    assert abs(len(sound) - 2 * 48000) <= 1024
    during = sound[4800 : round(min(seconds, 2.0) * 48000) - 4800]
    assert abs(np.abs(during).max() - 0.25) < 0.03
    if seconds < 2:
        assert np.abs(sound[round(seconds * 48000) + 4800 :]).max() < 0.01, "silence after its end"
    described = subprocess.run([*command()[:1], "-i", made.path], capture_output=True, text=True, check=False).stderr
    assert "aac (LC)" in described and "48000 Hz" in described
    assert names(tmp_path) == ["a.mp4", "silent.mp4"]


def test_the_same_sound_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        with Encoder(tmp_path / name, *SIZE, 24) as encoder:
            encoder.write(grain(24))
            encoder.sound(Sound.of(tone(1, 24000), 24000))
            encoder.finish()
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 0), np.float32),
        np.zeros((3, 100), np.float32),
        np.zeros(100, np.float32),
        np.zeros((2, 100), np.float64),
        np.full((2, 100), np.nan, np.float32),
    ],
)
def test_what_is_no_sound_is_refused(samples: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="sound must be"):
        Sound.of(samples, 48000)


def test_a_picture_through_the_encoder_loses_detail_with_the_quality() -> None:
    picture = Image.fromarray(grain(1)[0])
    assert recompressed(picture, 0) is picture
    lost = [
        np.abs(np.asarray(recompressed(picture, crf)).astype(int) - np.asarray(picture)).mean() for crf in (10, 33, 45)
    ]
    assert 0 < lost[0] < lost[1] < lost[2]


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))
def test_even_sizes_keep_their_pixels(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, count: int
) -> None:
    path = encode(tmp_path_factory.mktemp("even") / "a.mp4", grain(count, 2 * width, 2 * height))
    made = probe(path)
    assert (made.width, made.height, made.frames) == (2 * width, 2 * height, count)


@pytest.mark.parametrize("size", [(191, 108), (192, 107), (0, 108), (192, -2)])
def test_refuses_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even sides"):
        Encoder(tmp_path / "a.mp4", *size, 24)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 108, 192, 3), np.float32),
        np.zeros((2, 192, 108, 3), np.uint8),
        np.zeros((108, 192, 3), np.uint8),
        np.zeros((2, 108, 192, 4), np.uint8),
    ],
)
def test_refuses_other_arrays(tmp_path: Path, frames: Frames) -> None:
    with Encoder(tmp_path / "a.mp4", *SIZE, 24) as encoder, pytest.raises(ValueError, match="frames must be uint8"):
        encoder.write(frames)
    assert not names(tmp_path)


def test_no_frame_is_no_clip(tmp_path: Path) -> None:
    with Encoder(tmp_path / "a.mp4", *SIZE, 24) as encoder, pytest.raises(VideoError):
        encoder.finish()
    assert not names(tmp_path)


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No such file"):
        encode(tmp_path / "no" / "a.mp4", grain(200))


def test_abort_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    before, threads = children(), threading.active_count()
    with Encoder(tmp_path / "a.mp4", *SIZE, 24) as encoder:
        encoder.write(grain(40))
        assert children() - before
    assert not children() - before
    assert threading.active_count() == threads
    assert not names(tmp_path)
    with pytest.raises(VideoError, match="has ended"):
        encoder.write(grain(1))
    encoder.abort()


def test_abort_frees_a_producer_that_waits(tmp_path: Path) -> None:
    encoder = Encoder(tmp_path / "a.mp4", 1280, 720, 24)
    chunk, heard = grain(8, 1280, 720), list[Exception]()

    def produce() -> None:
        try:
            while True:
                encoder.write(chunk)
        except VideoError as error:
            heard.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    time.sleep(0.3)  # long enough that the queue is full of noise
    encoder.abort()
    producer.join(60)
    assert not producer.is_alive()
    assert len(heard) == 1
    assert not names(tmp_path)


def test_killed_encoder_is_an_error_and_no_file(tmp_path: Path) -> None:
    before = children()
    with Encoder(tmp_path / "a.mp4", *SIZE, 24) as encoder:
        encoder.write(grain(4))
        os.kill((children() - before).pop(), signal.SIGKILL)
        with pytest.raises(VideoError, match="exit code -9"):
            encoder.finish()
    assert not names(tmp_path)


_LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from clips.errors import SetupError
from clips.video import Encoder

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with Encoder(Path(sys.argv[1]) / "a.mp4", 640, 360, 24) as encoder:
        encoder.write(np.random.default_rng(1).integers(0, 256, (60, 360, 640, 3), dtype=np.uint8))
        encoder.finish()
except SetupError as error:
    print(error)
"""


def test_file_size_limit_is_one_clear_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("The system allows no larger file in")
    assert not names(tmp_path)


def test_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full is the kernel's own full disk: ffmpeg writes to it through a link in the temporary file's place."""
    (link := tmp_path / "full.part").symlink_to("/dev/full")
    monkeypatch.setattr("clips.video.temporary_for", lambda _path: link)
    with pytest.raises(SetupError, match="is full: encoding stopped"):
        encode(tmp_path / "a.mp4", grain(400))
    assert not names(tmp_path)


# ---- reading


def test_probe_hears_sound(tmp_path: Path) -> None:
    pictures = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=30000/1001:duration=2")
    ffmpeg(*pictures, "-f", "lavfi", "-i", "sine=duration=2", "-pix_fmt", "yuv420p", tmp_path / "a.mp4")
    made = probe(tmp_path / "a.mp4")
    assert made.has_sound
    assert made.sound_bytes > 1000
    assert made.fps == pytest.approx(30000 / 1001, rel=1e-3)
    assert made.seconds == pytest.approx(2, abs=0.05)


def test_probe_refuses_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    with pytest.raises(VideoError, match=r"reading a\.mp4"):
        probe(tmp_path / "a.mp4")
    with pytest.raises(VideoError):
        probe(tmp_path / "b.mp4")


# ---- the smaller copy


@pytest.mark.parametrize("limit", [2_000_000, 500_000, 120_000, 40_000])
async def test_grain_fits_below_the_limit(tmp_path: Path, limit: int) -> None:
    master = encode(tmp_path / "a.mp4", grain(48, 480, 270))
    steps = list[tuple[int, int]]()
    made = await fit_below(master, limit, tmp_path / "b.mp4", progress=lambda done, total: steps.append((done, total)))
    assert made.bytes == (tmp_path / "b.mp4").stat().st_size <= limit
    assert made.bytes > limit / 8, "how near depends on how the encoder's threads are scheduled"
    assert made.frames == 48
    assert len(decoded(made.path)) == 48
    assert (48, 48) in steps
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


async def test_smaller_copy_keeps_colour_and_sound(tmp_path: Path) -> None:
    silent = encode(
        tmp_path / "silent.mp4",
        np.concatenate([grain(24, 320, 180), np.full((24, 180, 320, 3), (200, 100, 50), np.uint8)]),
    )
    master = tmp_path / "a.mp4"
    ffmpeg("-i", silent, "-f", "lavfi", "-i", "sine=duration=2", "-c:v", "copy", "-c:a", "aac", master)
    made = await fit_below(master, 150_000, tmp_path / "b.mp4")
    assert made.bytes <= 150_000
    assert made.has_sound
    assert made.sound_bytes == probe(master).sound_bytes
    assert np.abs(decoded(made.path)[-2, 20, 20].astype(int) - (200, 100, 50)).max() <= 3


async def test_master_that_fits_is_left_alone(tmp_path: Path) -> None:
    master = encode(tmp_path / "a.mp4", solid((9, 9, 9)))
    assert (await fit_below(master, 10_000_000, tmp_path / "b.mp4")).path == master
    assert not (tmp_path / "b.mp4").exists()


async def test_what_cannot_fit_says_so(tmp_path: Path) -> None:
    master = encode(tmp_path / "a.mp4", grain(24))
    with pytest.raises(VideoError, match="does not fit into 5000 bytes"):
        await fit_below(master, 5000, tmp_path / "b.mp4")
    assert names(tmp_path) == ["a.mp4"]


async def test_cancelled_copy_leaves_nothing(tmp_path: Path) -> None:
    master = encode(tmp_path / "a.mp4", grain(60, 640, 360))
    before, started = children(), asyncio.Event()
    task = asyncio.create_task(fit_below(master, 400_000, tmp_path / "b.mp4", progress=lambda *_: started.set()))
    await asyncio.wait_for(started.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not children() - before
    assert names(tmp_path) == ["a.mp4"]
