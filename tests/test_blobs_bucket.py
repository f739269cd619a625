"""The blob store on a small S3 of our own."""

import hashlib
import os
import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from clips.blobs import BlobMissingError, BlobStore
from clips.domain import Sha256
from clips.errors import SetupError
from clips.postgres import Pool

NOW = timedelta(0)
CONTENT = b"a photo, let us say"
NAME = Sha256(hashlib.sha256(CONTENT).hexdigest())


class SmallS3:
    """As much of S3's REST as one bucket's puts, gets, deletes and multipart uploads take (S3 API reference)."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.refusing = False

    async def answer(self, request: web.Request) -> web.Response:
        key, query, body = request.path, request.query, await request.read()
        if self.refusing:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        if request.method == "GET":
            return web.Response(
                status=200 if key in self.objects else 404,
                body=self.objects.get(key),
                headers={"ETag": "e", "Last-Modified": "Sun, 22 Nov 2026 12:00:00 GMT"},
            )
        if request.method == "POST" and "uploads" in query:
            return web.Response(
                text="<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            )
        if request.method == "POST" and "delete" in query:
            names = re.findall("<Key>(.+?)</Key>", body.decode())
            for name in names:
                self.objects.pop(f"{key}/{name}", None)
            deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
            return web.Response(text=f"<DeleteResult>{deleted}</DeleteResult>")
        if request.method == "POST":
            self.objects[key] = b"".join(part for _, part in sorted(self.parts.items()))
            return web.Response(text="<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
        if "partNumber" in query:
            self.parts[int(query["partNumber"])] = body
        else:
            self.objects[key] = body
        return web.Response(headers={"ETag": "e"})


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[SmallS3]:
    bucket = SmallS3()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", bucket.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    for name, value in {
        "AWS_ENDPOINT": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    yield bucket
    await runner.cleanup()


async def test_a_bucket(s3: SmallS3, pool: Pool, tmp_path: Path):
    blobs = BlobStore.from_url("s3://bucket/clips")
    await blobs.probe()
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * 18)
    name = await blobs.put(pool, large, "video/mp4")
    await blobs.put(pool, CONTENT, "image/png")
    assert set(s3.objects) == {f"/bucket/clips/{each[:2]}/{each}" for each in (name, NAME)}
    assert len(s3.parts) == 3
    await blobs.fetch_to(name, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert await blobs.get(NAME) == CONTENT
    assert (await blobs.collect(pool, NOW)).blobs == 2
    assert s3.objects == {}
    with pytest.raises(BlobMissingError):
        await blobs.get(NAME)


async def test_a_bucket_that_refuses_us(s3: SmallS3, pool: Pool):
    s3.refusing = True
    blobs = BlobStore.from_url("s3://bucket")
    with pytest.raises(SetupError, match="ZOETROPE_BLOBS: the blob store failed its test"):
        await blobs.probe()
    with pytest.raises(SetupError, match="ZOETROPE_BLOBS: the blob store did not take a blob"):
        await blobs.put(pool, CONTENT, "image/png")
