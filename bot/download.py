"""Fetches a member's photo or video from where Discord keeps attachments, and from nowhere else."""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
from yarl import URL

from clips.errors import MemberError, PhotoError, RetryableError, VideoUploadError
from clips.motion_video import VideoLimits, check_video_bytes
from clips.photo import PhotoLimits, check_bytes
from courier.endpoint import is_photo_host

_log = logging.getLogger(__name__)
_PIECE = 256 * 1024
_ATTEMPTS = 3


class Downloads:
    """Uploads as bytes. Each may be as large as its limits allow: the caller bounds how many are in memory at once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        hosts: AbstractSet[URL],
        limits: PhotoLimits,
        video_limits: VideoLimits | None = None,
        *,
        bound: timedelta = timedelta(seconds=30),
    ) -> None:
        self._session = session
        self._hosts = frozenset(hosts)
        self._photo = _Upload("photo", PhotoError, lambda size: check_bytes(size, limits))
        most = video_limits or VideoLimits()
        self._video = _Upload("video", VideoUploadError, lambda size: check_video_bytes(size, most))
        self._timeout = aiohttp.ClientTimeout(total=bound.total_seconds(), sock_read=bound.total_seconds() / 3)

    def allows(self, address: str) -> bool:
        """May an upload be fetched from there?"""
        return is_photo_host(address, self._hosts)

    async def fetch(self, address: str) -> bytes:
        """A photo's bytes. Raises `PhotoError` where it is no attachment, has expired or is too large."""
        return await self._fetch(address, self._photo)

    async def fetch_video(self, address: str) -> bytes:
        """A video's bytes. Raises `VideoUploadError` as `fetch` raises `PhotoError`."""
        return await self._fetch(address, self._video)

    async def _fetch(self, address: str, upload: "_Upload") -> bytes:
        if not self.allows(address):
            raise upload.refusal(f"That {upload.name} is not an upload in Discord. Save it and attach it as a file.")
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(0.5 * attempt)
            try:
                return await self._once(address, upload)
            except (aiohttp.ClientError, TimeoutError, RetryableError) as error:
                _log.warning("downloading a %s failed: %s", upload.name, str(error) or type(error).__name__)
        raise upload.refusal(f"The {upload.name} could not be fetched from Discord just now. Try again in a minute.")

    async def _once(self, address: str, upload: "_Upload") -> bytes:
        # An attachment's address is signed and has no second place: a redirect could only lead somewhere else.
        # `encoded`: the signature is over the address as Discord wrote it.
        url = URL(address, encoded=True)
        async with self._session.get(url, allow_redirects=False, timeout=self._timeout) as response:
            if response.status in {403, 404, 410}:
                raise upload.refusal(
                    f"The {upload.name} is no longer where it was uploaded: its link has expired. Attach it again."
                )
            if response.status != 200:
                raise RetryableError(f"the attachment's server answered {response.status}")
            if response.content_length is not None:
                upload.check(response.content_length)
            received = bytearray()
            async for piece in response.content.iter_chunked(_PIECE):
                received += piece
                upload.check(len(received))
            return bytes(received)


@dataclass(frozen=True, slots=True)
class _Upload:
    """A kind of upload: what to call it, how to refuse it, and whether a size is too large."""

    name: str
    refusal: type[MemberError]
    check: Callable[[int], None]
