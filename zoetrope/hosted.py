"""`zoetrope doctor --hosted`: the catalogue's hosted entries against the provider's own schemas, live or recorded."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

import aiohttp
from pydantic import SecretStr
from yarl import URL

from clips.catalog import Catalog, Model
from clips.drift import drifts
from clips.errors import SetupError
from clips.hosting import Tool
from clips.schemas import InputSchema
from clips.settings import Settings
from zoetrope.findings import Finding

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WHOLE_VERSION = 64
"""Characters of a version; with fewer it is looked up at the provider."""


async def examine_hosted(settings: Settings, recorded: Path | None) -> AsyncIterator[Finding]:
    """One finding for each hosted entry that agrees, one for each drift of the others. Raises `SetupError`.

    `recorded` is a folder with answers to `GET /v1/models/{owner}/{name}` as JSON files: nothing is asked of anybody.
    """
    catalog = Catalog.load(settings.catalog)
    entries = [entry for entry in (*catalog, *catalog.tools.values()) if entry.hosted is not None]
    if recorded is not None:
        schemas = await asyncio.to_thread(_read, recorded)
        for entry in entries:
            for finding in _compared(entry, schemas.get(_slug(entry))):
                yield finding
    else:
        async with _Provider(settings.replicate_url, settings.replicate_api_token) as provider:
            for entry in entries:
                try:
                    schema = await provider.schema(entry)
                except SetupError as error:
                    yield Finding(entry.name, "cannot be compared", str(error))
                else:
                    for finding in _compared(entry, schema):
                        yield finding
    yield Finding("prices", "are in no schema: compare usd in the catalogue with the provider's pages by hand")


def _compared(entry: Model | Tool, schema: InputSchema | None) -> list[Finding]:
    if schema is None:
        return [Finding(entry.name, f"no schema of {_slug(entry)} is recorded there")]
    found = [Finding(entry.name, drift.found, drift.fix) for drift in drifts(entry, schema)]
    return found or [Finding(entry.name, f"is as the schema of {schema.slug} says")]


def _read(folder: Path) -> Mapping[str, InputSchema]:
    """The recorded schemas by slug."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SetupError(f"There is no recorded schema in {folder}: save answers to GET /v1/models/OWNER/NAME there.")
    schemas = [InputSchema.of_page(file.read_bytes(), str(file)) for file in files]
    return {schema.slug: schema for schema in schemas}


def _slug(entry: Model | Tool) -> str:
    return entry.hosted.slug if entry.hosted else ""


class _Provider:
    """Replicate's pages of models, and nothing that costs anything."""

    def __init__(self, url: str, key: SecretStr | None) -> None:
        if key is None:
            raise SetupError(
                "REPLICATE_API_TOKEN is not set: the provider's schemas cannot be read. Set it, or compare recorded "
                "ones with --schemas FOLDER."
            )
        self._models = URL(url) / "v1" / "models"
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT, headers={"Authorization": f"Bearer {key.get_secret_value()}"}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def schema(self, entry: Model | Tool) -> InputSchema:
        """The schema of the version that the entry runs; of the newest, where it names none. Raises `SetupError`."""
        slug, version = _slug(entry), entry.hosted.version if entry.hosted else None
        page = InputSchema.of_page(await self._get(self._models / slug), slug)
        if version is None or page.version.startswith(version) or len(version) < _WHOLE_VERSION:
            return page
        return InputSchema.of_version(await self._get(self._models / slug / "versions" / version), slug)

    async def _get(self, url: URL) -> bytes:
        try:
            # The key goes nowhere else: a redirect is not followed.
            async with self._session.get(url, allow_redirects=False) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SetupError(f"The provider does not answer ({type(error).__name__}). Try again later.") from error
        match response.status:
            case 200:
                return content
            case 401 | 403:
                raise SetupError("The provider refuses the key. Correct REPLICATE_API_TOKEN.")
            case 404:
                raise SetupError("The provider has no such model or version. Correct its slug and version.")
            case status:
                raise SetupError(f"The provider answered with status {status}. Try again later.")
