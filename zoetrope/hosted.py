"""`zoetrope doctor --hosted`: the catalogue's hosted entries against the provider's own schemas, live or recorded."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from yarl import URL

from clips.catalog import Catalog, Model
from clips.drift import drifts
from clips.errors import RetryableError, SetupError
from clips.hosting import Hosted, Tool
from clips.schemas import InputSchema
from clips.settings import Settings
from generator.engines.replicate.api import HasteError, RefusedError, Replicate
from zoetrope.findings import Finding

_WHOLE_VERSION = 64
"""Characters of a version; with fewer it is looked up at the provider."""


async def examine_hosted(settings: Settings, recorded: Path | None) -> AsyncIterator[Finding]:
    """One finding for each hosted entry that agrees, one for each drift of the others. Raises `SetupError`.

    `recorded` is a folder with answers to `GET /v1/models/{owner}/{name}` as JSON files: nothing is asked of anybody.
    """
    catalog = Catalog.load(settings.catalog)
    entries = [(entry, entry.hosted) for entry in (*catalog, *catalog.tools.values()) if entry.hosted is not None]
    if recorded is not None:
        schemas = await asyncio.to_thread(_read, recorded)
        for entry, hosted in entries:
            for finding in _compared(entry, hosted, schemas.get(hosted.slug)):
                yield finding
    else:
        if settings.replicate_api_token is None:
            raise SetupError(
                "REPLICATE_API_TOKEN is not set: the provider's schemas cannot be read. Set it, or compare recorded "
                "ones with --schemas FOLDER."
            )
        async with Replicate.open(URL(settings.replicate_url), settings.replicate_api_token) as api:
            for entry, hosted in entries:
                try:
                    schema = await _schema(api, hosted)
                except SetupError as error:
                    yield Finding(entry.name, "cannot be compared", str(error))
                else:
                    for finding in _compared(entry, hosted, schema):
                        yield finding
    yield Finding("prices", "are in no schema: compare usd in the catalogue with the provider's pages by hand")


def _compared(entry: Model | Tool, hosted: Hosted, schema: InputSchema | None) -> list[Finding]:
    if schema is None:
        return [Finding(entry.name, f"no schema of {hosted.slug} is recorded there")]
    found = [Finding(entry.name, drift.found, drift.fix) for drift in drifts(entry, schema)]
    return found or [Finding(entry.name, f"is as the schema of {schema.slug} says")]


def _read(folder: Path) -> Mapping[str, InputSchema]:
    """The recorded schemas by slug."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SetupError(f"There is no recorded schema in {folder}: save answers to GET /v1/models/OWNER/NAME there.")
    schemas = [InputSchema.of_page(file.read_bytes(), str(file)) for file in files]
    return {schema.slug: schema for schema in schemas}


async def _schema(api: Replicate, hosted: Hosted) -> InputSchema:
    """The schema of the version that the entry runs; of the newest, where it names none. Raises `SetupError`."""
    slug, version = hosted.slug, hosted.version
    try:
        page = InputSchema.of_page(await api.page(slug), slug)
        if version is None or page.version.startswith(version) or len(version) < _WHOLE_VERSION:
            return page
        return InputSchema.of_version(await api.page(slug, version), slug)
    except RefusedError as error:
        raise SetupError(f"Replicate shows no such model ({error.detail}). Correct its slug and version.") from error
    except (RetryableError, HasteError) as error:
        raise SetupError(f"{error}. Try again later.") from error
