"""Takes as files that a channel accepts: the master where it fits, else a smaller copy, made once and kept."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import discord

from clips import library
from clips.blobs import BlobDamagedError, BlobMissingError, BlobStore
from clips.deliveries import Delivery
from clips.domain import GuildId, Sha256, TakeId
from clips.ffmpeg import VideoError
from clips.fitting import fit_below
from clips.library import Clip
from clips.postgres import Pool
from courier.channel import Upload
from courier.message import File

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_MARGIN = 64 * 1024
"""Bytes below Discord's figure: the envelope around a file counts too."""
_KNOWN_LIMITS = tuple(size * _MIB for size in (100, 50, 25, 10, 8))
_FRESH = 600.0
"""Seconds for which a server's limit is believed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Files ready to be sent; and what cannot be sent at all, with the reason in words for the channel."""

    uploads: list[Upload]
    unattached: dict[TakeId, str]


class Uploads:
    """Prepares files. `attachment_limit` in bytes holds where Discord does not say more."""

    def __init__(self, pool: Pool, blobs: BlobStore, client: discord.Client, attachment_limit: int) -> None:
        self._pool = pool
        self._blobs = blobs
        self._client = client
        self._default = attachment_limit
        self._told: dict[GuildId, tuple[float, int]] = {}
        # An encode takes every core there is: two at once only finish later.
        self._fitting = asyncio.Semaphore(1)

    async def limit(self, delivery: Delivery) -> int:
        """The most bytes that a file in a delivery's channel may have, as far as anybody knows."""
        told = await self._guild_limit(delivery.guild_id) - _MARGIN
        return told if delivery.limit_bytes is None else min(told, delivery.limit_bytes)

    async def prepare(self, delivery: Delivery, files: Sequence[File], limit: int, folder: Path) -> Prepared:
        """Brings takes into a folder, each at most `limit` bytes. One that was deleted meanwhile is left out."""
        prepared = Prepared([], {})
        for file in files:
            clip = await library.clip(self._pool, delivery.guild_id, file.take_id)
            if clip is None:
                continue
            try:
                path = await self._brought(clip, limit, folder)
            except VideoError as error:
                log.warning("Take %s does not fit into %s bytes: %s", file.take_id, limit, error)
                prepared.unattached[file.take_id] = (
                    "it is too large for this channel at any size. `/my clips` keeps it."
                )
            except (BlobMissingError, BlobDamagedError):
                log.exception("Take %s cannot be posted.", file.take_id)
                prepared.unattached[file.take_id] = "its file is missing from the store. Staff can restore it."
            else:
                prepared.uploads.append(Upload(file, path, path.stat().st_size))
        return prepared

    async def _brought(self, clip: Clip, limit: int, folder: Path) -> Path:
        path = folder / f"{clip.take_id}.mp4"
        if clip.bytes <= limit:
            await self._blobs.fetch_to(clip.master, path)
        elif copy := await library.smaller_copy(self._pool, clip.take_id, limit):
            await self._blobs.fetch_to(copy, path)
        else:
            await self._fitted(clip, limit, path)
        return path

    async def _fitted(self, clip: Clip, limit: int, path: Path) -> Sha256:
        master = path.with_suffix(".master.mp4")
        await self._blobs.fetch_to(clip.master, master)
        try:
            async with self._fitting:
                await fit_below(master, limit, path)
        finally:
            master.unlink(missing_ok=True)
        copy = await self._blobs.put(self._pool, path, "video/mp4")
        await library.add_copy(self._pool, clip.take_id, limit, copy)
        return copy

    async def _guild_limit(self, guild_id: GuildId) -> int:
        guild = self._client.get_guild(guild_id)
        if guild is not None:
            return guild.filesize_limit
        fresh_until, limit = self._told.get(guild_id, (0.0, 0))
        if time.monotonic() < fresh_until:
            return limit
        try:
            limit = (await self._client.fetch_guild(guild_id, with_counts=False)).filesize_limit
        except (discord.Forbidden, discord.NotFound):
            return self._default
        self._told[guild_id] = time.monotonic() + _FRESH, limit
        return limit


def smaller_limit(uploads: Sequence[Upload]) -> int:
    """What to try after Discord refused these: the next of its known limits, then three quarters each time."""
    largest = max(upload.bytes for upload in uploads)
    known = next((limit - _MARGIN for limit in _KNOWN_LIMITS if limit - _MARGIN < largest), 0)
    return known or largest * 3 // 4
