"""Request bodies: JSON, or multipart with `payload_json` and `files[n]`. Files go to disk as they come in."""

import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from aiohttp import BodyPartReader, web

from sandbox.records import Json
from sandbox.refusals import bad_json, too_large

_FILE_FIELD = re.compile(r"files\[(\d+)\]")
_CHUNK = 256 * 1024

PAYLOAD: web.RequestKey[object] = web.RequestKey("payload", object)
"""What a request said in JSON, for whoever records it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a request and lies in a temporary place."""

    filename: str
    path: Path
    size: int


@dataclass(slots=True)
class Form:
    """A request's JSON object and its files by their number. Leaving the block removes files that nobody took."""

    payload: Json = field(default_factory=dict[str, object])
    files: dict[int, Upload] = field(default_factory=dict[int, Upload])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for upload in self.files.values():
            upload.path.unlink(missing_ok=True)


async def read_form(request: web.Request, folder: Path, most_bytes: int) -> Form:
    """Reads a body. Raises `Refusal` for broken JSON and for a file above `most_bytes`."""
    if not request.content_type.startswith("multipart/"):
        return Form(as_object(await read_json(request)))
    form = Form()
    try:
        await _read_parts(request, folder, most_bytes, form)
    except BaseException:
        form.__exit__()
        raise
    request[PAYLOAD] = form.payload
    return form


async def read_json(request: web.Request) -> object:
    """A JSON body, an empty object where there is none."""
    text = await request.text()
    payload = _parse(text) if text else {}
    request[PAYLOAD] = payload
    return payload


def as_object(payload: object) -> Json:
    if not isinstance(payload, dict):
        raise bad_json()
    return payload


async def _read_parts(request: web.Request, folder: Path, most_bytes: int, form: Form) -> None:
    """Fills a form. Reads to the end even when a file is too large, so that the refusal can be heard."""
    oversized = False
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        name = part.name or ""
        numbered = _FILE_FIELD.fullmatch(name)
        if numbered or part.filename is not None:
            number = int(numbered[1]) if numbered else len(form.files)
            upload = await save_part(part, folder, most_bytes)
            form.files[number] = upload
            oversized = oversized or upload.size > most_bytes
        elif name == "payload_json":
            form.payload = as_object(_parse(await part.text()))
    if oversized:
        raise too_large()


async def save_part(part: BodyPartReader, folder: Path, most_bytes: int) -> Upload:
    """Writes a part to a temporary file; of one above `most_bytes` only the size is kept right."""
    path = folder / f"incoming-{secrets.token_hex(8)}"
    size = 0
    try:
        with path.open("wb") as file:
            while chunk := await part.read_chunk(_CHUNK):
                size += len(chunk)
                if size <= most_bytes:
                    file.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Upload(part.filename or "file", path, size)


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise bad_json() from None
