"""A clip that was made elsewhere, as a master of ours: checked, playable in Discord, without what it must not carry."""

from dataclasses import replace
from pathlib import Path

from clips.ffmpeg import H264, MP4, Encoded, growing, probe, run, source

_CRF = 18
_PLAYS = {"h264"}
_SOUNDS = {"aac"}


def adopt(made: Path, out: Path, *, sound: bool) -> Encoded:
    """Write the clip to `out`: its picture as it is where Discord plays it, else encoded again; its sound only if
    `sound`. Metadata goes. Raises `VideoError` where it is no video that plays to its end.
    """
    picture, heard = _codecs(made)
    keep = picture in _PLAYS
    video = ("-c:v", "copy") if keep else (*H264, "-crf", str(_CRF), "-pix_fmt", "yuv420p")
    audio = ("-map", "0:a:0?", "-c:a", "copy" if heard in _SOUNDS else "aac") if sound else ("-an",)
    with growing(out) as temporary:
        run(f"taking over {made.name}", out, *source(made), "-map", "0:v:0", *video, *audio, *MP4, temporary)
        run(f"playing {made.name}", temporary, *source(temporary), "-xerror", "-map", "0:v:0", "-f", "null", "-")
        whole = probe(temporary)
    return replace(whole, path=out)


def _codecs(path: Path) -> tuple[str, str | None]:
    """The codecs of the first picture and the first sound, as ffmpeg names them."""
    listing = run(
        f"reading {path.name}", path, *source(path), "-map", "0:v:0", "-map", "0:a:0?", "-c", "copy", "-t", "0.1",
        "-f", "framecrc", "-",
    ).decode()  # fmt: skip
    found = [line.partition(": ")[2] for line in listing.splitlines() if line.startswith("#codec_id ")]
    return found[0], found[1] if len(found) > 1 else None
