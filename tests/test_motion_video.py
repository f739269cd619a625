"""Motion videos: what comes through comes out clean, and what a stranger may send instead is refused in words."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

from clips.errors import VideoUploadError
from clips.ffmpeg import command, probe
from clips.motion_video import VideoLimits, read_motion_video
from tests.hostile import SECRET, cut, saved, scene

LIMITS = VideoLimits()


@cache
def movie(seconds: float = 2.0, *, kind: str = "mp4") -> bytes:
    """A small video with sound, whose metadata hold a secret."""
    made = subprocess.run(
        command(
            "-f", "lavfi", "-i", f"testsrc=d={seconds}:s=64x48:r=8", "-f", "lavfi", "-i", f"sine=d={seconds}:r=8000",
            "-metadata", f"comment={SECRET.decode()}", "-metadata:s:v", f"handler_name={SECRET.decode()}",
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac",
            "-movflags", "frag_keyframe+empty_moov", "-f", kind, "-",
        ),
        capture_output=True, check=True,
    )  # fmt: skip
    return made.stdout


@pytest.mark.parametrize("kind", ["mp4", "mov"])
def test_a_video_comes_out_without_what_it_told_of_its_maker(kind: str, tmp_path: Path):
    upload = movie(kind=kind)
    assert SECRET in upload
    video = read_motion_video(upload, LIMITS)
    assert SECRET not in video.data
    assert (video.width, video.height) == (64, 48) and video.seconds == pytest.approx(2.0, abs=0.2)
    path = tmp_path / "clean.mp4"
    path.write_bytes(video.data)
    found = probe(path)
    assert (found.frames, found.has_sound) == (16, True)


def test_reading_it_again_gives_the_same_file():
    assert read_motion_video(movie(), LIMITS) == read_motion_video(movie(), LIMITS)


@pytest.mark.parametrize(
    ("upload", "sentence"),
    [
        (b"", "The video is empty."),
        (saved(scene(), "PNG"), "That is a PNG picture and no video to follow."),
        (b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", "That is plain text and no video to follow."),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "That is plain text and no video to follow."),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(4000), "The video cannot be read"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(400), "That is an AVIF picture and no video"),
        (cut(movie(), 0.03), "The video cannot be read"),
    ],
)
def test_what_is_no_video_is_refused_in_words(upload: bytes, sentence: str):
    with pytest.raises(VideoUploadError) as refused:
        read_motion_video(upload, LIMITS)
    assert refused.value.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (VideoLimits(longest=1.5), "The video lasts 2.1 s; 1 to 2 s can be followed."),
        (VideoLimits(shortest=3), "The video lasts 2.1 s; 3 to 30 s can be followed."),
        (VideoLimits(max_bytes=1000), "MB fit. Send a shorter or smaller one."),
        (VideoLimits(long_side=48), "The video has 64×48 pixels; at most 48 a side can be followed."),
    ],
)
def test_what_is_too_much_is_refused_with_the_limit(limits: VideoLimits, sentence: str):
    with pytest.raises(VideoUploadError) as refused:
        read_motion_video(movie(), limits)
    assert sentence in refused.value.sentence
