"""The file server: signed addresses that expire, ranges, sizes; and what uploads are called."""

import io
from pathlib import Path

import aiohttp
import pytest
from people import Controls, Person, Refused, Rest, multipart
from PIL import Image

from sandbox.media import dimensions_of
from sandbox.server import Sandbox


def picture(format: str, width: int = 40, height: int = 30) -> bytes:  # noqa: A002
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, format)
    return out.getvalue()


async def test_a_file_is_served_whole_and_in_ranges(rest: Rest, session: aiohttp.ClientSession, lobby: str):
    _, sent = await rest("POST", f"/channels/{lobby}/messages", multipart({}, ("clip.mp4", bytes(range(100)))))
    url = sent["attachments"][0]["url"]
    async with session.get(url) as response:
        assert (response.status, response.content_type) == (200, "video/mp4")
        assert await response.read() == bytes(range(100))
        assert response.headers["Accept-Ranges"] == "bytes"
    async with session.get(url, headers={"Range": "bytes=10-19"}) as response:
        assert (response.status, await response.read()) == (206, bytes(range(10, 20)))
    async with session.get(f"{url}&download=1") as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="clip.mp4"'


async def test_addresses_are_signed_and_expire(
    rest: Rest, session: aiohttp.ClientSession, lobby: str, control: Controls
):
    _, sent = await rest("POST", f"/channels/{lobby}/messages", multipart({}, ("clip.mp4", b"x")))
    url = sent["attachments"][0]["url"]
    for wrong in (url.partition("?")[0], url.replace("ex=", "ex=f"), url[:-1] + ("0" if url[-1] != "0" else "1")):
        async with session.get(wrong) as response:
            assert response.status == 404
    await control("/expire", {"attachments": True})
    async with session.get(url) as response:
        assert response.status == 404
    _, again = await rest("GET", f"/channels/{lobby}/messages/{sent['id']}")
    async with session.get(again["attachments"][0]["url"]) as response:
        assert response.status == 200
    await rest("DELETE", f"/channels/{lobby}/messages/{sent['id']}")
    async with session.get(again["attachments"][0]["url"]) as response:
        assert response.status == 404


async def test_what_is_uploaded_is_shown_and_never_run(juno: Person, session: aiohttp.ClientSession, lobby: str):
    message = await juno.write(lobby, attachments=[await juno.upload(b"<script>", "../evil name.svg")])
    assert message["attachments"][0]["filename"] == "evil_name.svg"
    async with session.get(message["attachments"][0]["url"]) as response:
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_pictures_tell_their_size(juno: Person, lobby: str, format: str):  # noqa: A002
    upload = await juno.upload(picture(format), f"photo.{format.lower()}")
    shown = (await juno.write(lobby, attachments=[upload]))["attachments"][0]
    assert (shown["width"], shown["height"]) == (40, 30)
    assert shown["content_type"] == f"image/{format.lower()}"


def test_a_clip_tells_its_size_and_broken_files_none(tmp_path: Path):
    header = bytes([0, 0, 0, 0]) + bytes(20) + bytes(52) + (64 << 16).to_bytes(4, "big") + (48 << 16).to_bytes(4, "big")
    for name, content, size in (
        ("front.mp4", b"\0\0\0\x18ftypisom" + b"tkhd" + header, (64, 48)),
        ("end.mp4", b"\0\0\0\x18ftypisom" + bytes(2_000_000) + b"tkhd" + header, (64, 48)),
        ("short.mp4", b"\0\0\0\x18ftypisomtkhd", None),
        ("short.png", b"\x89PNG\r\n\x1a\n", None),
        ("short.jpg", b"\xff\xd8\xff\xe0", None),
        ("loop.jpg", b"\xff\xd8" + b"\xff\xe0\0\0" * 4, None),
        ("lossless.webp", picture("WEBP")[:20], None),
        ("empty.png", b"", None),
    ):
        (tmp_path / name).write_bytes(content)
        assert dimensions_of(tmp_path / name) == size, name


async def test_uploads_have_bounds(
    juno: Person, theo: Person, lobby: str, monkeypatch: pytest.MonkeyPatch, box: Sandbox
):
    monkeypatch.setattr("sandbox.member.MOST_UPLOAD", 1000)
    with pytest.raises(Refused, match="may be") as refused:
        await juno.upload(b"x" * 1001, "a.png")
    assert refused.value.status == 413
    mine = await juno.upload(b"x" * 1000, "a.png")
    with pytest.raises(Refused, match="not among your uploads"):
        await theo.write(lobby, attachments=[mine])
    await juno.write(lobby, attachments=[mine])
    with pytest.raises(Refused, match="not among your uploads"):
        await juno.write(lobby, attachments=[mine])
    assert len(list(box.world.store.files.iterdir())) == 1
