"""Fetches a member's photo from where Discord keeps attachments, and from nowhere else."""

import asyncio
import logging
from collections.abc import Set as AbstractSet
from datetime import timedelta

import aiohttp
from yarl import URL

from clips.errors import PhotoError, RetryableError
from clips.photo import PhotoLimits, check_bytes
from courier.endpoint import is_photo_host

_log = logging.getLogger(__name__)
_PIECE = 256 * 1024
_ATTEMPTS = 3


class Downloads:
    """Photos as bytes. Each may be as large as the limits allow: the caller bounds how many are in memory at once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        hosts: AbstractSet[URL],
        limits: PhotoLimits,
        *,
        bound: timedelta = timedelta(seconds=30),
    ) -> None:
        self._session = session
        self._hosts = frozenset(hosts)
        self._limits = limits
        self._timeout = aiohttp.ClientTimeout(total=bound.total_seconds(), sock_read=bound.total_seconds() / 3)

    def allows(self, address: str) -> bool:
        """May a photo be fetched from there?"""
        return is_photo_host(address, self._hosts)

    async def fetch(self, address: str) -> bytes:
        """The upload's bytes. Raises `PhotoError` where it is no attachment, has expired or is too large."""
        if not self.allows(address):
            raise PhotoError("That photo is not an upload in Discord. Save it and attach it as a file.")
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(0.5 * attempt)
            try:
                return await self._once(address)
            except (aiohttp.ClientError, TimeoutError, RetryableError) as error:
                _log.warning("downloading a photo failed: %s", str(error) or type(error).__name__)
        raise PhotoError("The photo could not be fetched from Discord just now. Try again in a minute.")

    async def _once(self, address: str) -> bytes:
        # An attachment's address is signed and has no second place: a redirect could only lead somewhere else.
        # `encoded`: the signature is over the address as Discord wrote it.
        url = URL(address, encoded=True)
        async with self._session.get(url, allow_redirects=False, timeout=self._timeout) as response:
            if response.status in {403, 404, 410}:
                raise PhotoError("The photo is no longer where it was uploaded: its link has expired. Attach it again.")
            if response.status != 200:
                raise RetryableError(f"the attachment's server answered {response.status}")
            if response.content_length is not None:
                check_bytes(response.content_length, self._limits)
            upload = bytearray()
            async for piece in response.content.iter_chunked(_PIECE):
                upload += piece
                if len(upload) > self._limits.max_bytes:
                    check_bytes(len(upload), self._limits)
            return bytes(upload)
