"""What a wish is made of: its photos, references and motion video, fetched, read and stored."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.download import Downloads
from clips import inputs, library
from clips.blobs import BlobStore
from clips.domain import GuildId, Sha256, UserId
from clips.errors import MemberError
from clips.inputs import Input, InputRole, StoredVideo
from clips.intakes import Intake, Upload, Wish
from clips.library import StoredPhoto
from clips.motion_video import VIDEO_TYPE, VideoReader
from clips.photo import PHOTO_TYPE
from clips.photo_process import PhotoReader
from clips.postgres import Pool

_IN_MEMORY = 4
"""Uploads that are held at once, each of up to 48 MiB; further ones wait for their turn."""


@dataclass(frozen=True, slots=True)
class Materials:
    """All of a wish that has bytes, stored."""

    photo: StoredPhoto | None
    end_photo: StoredPhoto | None
    references: Sequence[StoredPhoto]
    motion_video: StoredVideo | None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Width and height that the clip takes after: the photo's, else the first reference's."""
        leading = self.photo or (self.references[0] if self.references else None)
        return (leading.width, leading.height) if leading else None

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What is beside the photos, as a request has it."""
        references = tuple(Input(InputRole.REFERENCE, one.sha256) for one in self.references)
        video = self.motion_video
        return references + ((Input(InputRole.MOTION_VIDEO, video.sha256),) if video else ())

    def kept(self, wish: Wish) -> Wish:
        """The wish with what is stored in the place of addresses, which expire."""
        return replace(
            wish,
            photo=self.photo.sha256 if self.photo else None,
            photo_url=None,
            end_photo=self.end_photo.sha256 if self.end_photo else None,
            end_photo_url=None,
            references=tuple(Upload(sha256=one.sha256) for one in self.references),
            motion_video=Upload(sha256=self.motion_video.sha256) if self.motion_video else None,
        )


class Gatherer:
    """Gets the materials of wishes. One a process: it bounds what is in memory."""

    def __init__(
        self, pool: Pool, blobs: BlobStore, downloads: Downloads, photos: PhotoReader, videos: VideoReader
    ) -> None:
        self._pool = pool
        self._blobs = blobs
        self._downloads = downloads
        self._photos = photos
        self._videos = videos
        self._in_memory = asyncio.Semaphore(_IN_MEMORY)

    async def gather(self, opened: Intake, wish: Wish) -> Materials:
        """Fetch, read and store what is not there yet. Raises `MemberError` for what cannot be used."""
        return Materials(
            await self._photo(opened, wish.photo, wish.photo_url),
            await self._photo(opened, wish.end_photo, wish.end_photo_url),
            [found for one in wish.references if (found := await self._photo(opened, one.sha256, one.url))],
            await self._video(opened, wish.motion_video) if wish.motion_video else None,
        )

    async def _photo(self, opened: Intake, known: Sha256 | None, address: str | None) -> StoredPhoto | None:
        """The photo that the server has, or the upload."""
        if known is not None:
            stored = await library.photo(self._pool, opened.guild_id, known)
            if stored is None:
                raise MemberError("The photo of that clip has been deleted. Send it again with `/animate`.")
            return stored
        if address is None:
            return None
        async with self._in_memory:
            photo = await self._photos.read(await self._downloads.fetch(address))
            await self._blobs.put(self._pool, photo.data, PHOTO_TYPE)
        stored = StoredPhoto(photo.sha256, photo.width, photo.height)
        await library.add_photo(self._pool, opened.guild_id, opened.user_id, stored)
        return stored

    async def _video(self, opened: Intake, upload: Upload) -> StoredVideo:
        """The video that the server has, or the upload."""
        if upload.sha256 is not None:
            return await self._known_video(opened.guild_id, upload.sha256)
        async with self._in_memory:
            video = await self._videos.read(await self._downloads.fetch_video(upload.url or ""))
            await self._blobs.put(self._pool, video.data, VIDEO_TYPE)
        stored = StoredVideo(video.sha256, video.width, video.height, video.seconds)
        await inputs.add_video(self._pool, opened.guild_id, UserId(opened.user_id), stored)
        return stored

    async def _known_video(self, guild_id: GuildId, sha256: Sha256) -> StoredVideo:
        stored = await inputs.video(self._pool, guild_id, sha256)
        if stored is None:
            raise MemberError("The motion video of that clip has been deleted. Send it again with `/animate`.")
        return stored
