"""Clips that were made elsewhere become masters that play in Discord, or are refused."""

from pathlib import Path

import pytest

from clips import ffmpeg
from clips.ffmpeg import VideoError, probe
from clips.finished import adopt

SECRET = b"a name that nobody may read"
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=12:duration=1")
SOUND = ("-f", "lavfi", "-i", "sine=duration=1")
MARKED = ("-metadata", f"comment={SECRET.decode()}")
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")


def made(path: Path, *arguments: str) -> Path:
    ffmpeg.run("making a clip", path, *PICTURE, *SOUND, *MARKED, *arguments, path)
    return path


def codecs(path: Path) -> list[bytes]:
    listing = ffmpeg.run("reading", path, *ffmpeg.source(path), "-map", "0", "-c", "copy", "-f", "framecrc", "-")
    return [line.rpartition(b" ")[2] for line in listing.splitlines() if line.startswith(b"#codec_id")]


def pictures(path: Path) -> list[bytes]:
    return ffmpeg.run("reading", path, *ffmpeg.source(path), "-map", "0:v", "-f", "framemd5", "-").splitlines()[-12:]


@pytest.mark.parametrize("sound", [True, False])
def test_what_plays_anywhere_is_kept_as_it_is_without_its_metadata(tmp_path: Path, *, sound: bool):
    clip = made(tmp_path / "clip.mp4", *H264)
    assert SECRET in clip.read_bytes()
    master = adopt(clip, tmp_path / "master.mp4", sound=sound)
    assert (master.frames, master.has_sound) == (12, sound)
    assert pictures(master.path) == pictures(clip)
    assert SECRET not in master.path.read_bytes()


def test_what_discord_does_not_play_is_encoded_again(tmp_path: Path):
    clip = made(tmp_path / "clip.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus")
    master = adopt(clip, tmp_path / "master.mp4", sound=True)
    assert codecs(master.path) == [b"h264", b"aac"]
    assert (master.width, master.height, master.frames) == (96, 64, probe(clip).frames)


def test_what_does_not_play_to_its_end_leaves_nothing(tmp_path: Path):
    clip = made(tmp_path / "clip.mp4", *H264)
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 2000
    content[start : start + 3000] = bytes(3000)
    clip.write_bytes(content)
    with pytest.raises(VideoError):
        adopt(clip, tmp_path / "master.mp4", sound=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
