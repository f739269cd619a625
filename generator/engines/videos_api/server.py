"""One `/v1/videos` server: ask for a clip, look at it, fetch it, abort it. It knows nothing of takes or their order."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import BaseModel, SecretStr, ValidationError
from yarl import URL

from clips.catalog import Model
from clips.errors import RetryableError, SetupError, ZoetropeError
from clips.servers import Server
from generator.engines.http import TIMEOUT, download, retry_after, transport

log = logging.getLogger(__name__)

_SHORT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_LAST_WORD = aiohttp.ClientTimeout(total=5)
_NOTHING_TO_ABORT = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE, HTTPStatus.NOT_IMPLEMENTED}
"""Answers of a server that has no such job, or no way to end one."""
_LONGEST_REASON = 500  # characters of a server's own words that are worth keeping


class ForgottenError(ZoetropeError):
    """The server knows nothing of the job: it was restarted, or somebody deleted it."""


class ServerError(SetupError):
    """The server takes no work at all, and will not before the host mends it."""


class BusyError(RetryableError):
    """The server takes no more jobs now; `pause` is how many seconds it wants to be left alone."""

    def __init__(self, sentence: str, pause: float) -> None:
        super().__init__(sentence)
        self.pause = pause


class Status(StrEnum):
    """Where a job is. `lost`: aborted, or a status that there is no name for; nothing will come of it."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"


_STATUSES = {str(status): status for status in Status}


@dataclass(frozen=True, slots=True)
class Remote:
    """A job as its server tells of it. `progress` 0 to 100, and often 0 until it is 100; `reason` where it failed."""

    external_id: str
    status: Status
    progress: float = 0.0
    reason: str = ""


class _Fault(BaseModel):
    message: str | None = None


class _Job(BaseModel):
    """What the three servers have in common of a job's description."""

    id: str
    status: str = "queued"
    progress: float | None = 0.0
    error: _Fault | str | None = None


class VideoServer:
    """`async with VideoServer(…) as server`. The key goes to this server alone and into no message."""

    def __init__(self, server: Server, key: SecretStr | None) -> None:
        self._server = server
        self._videos = URL(server.url) / "v1" / "videos"
        self._key = key.get_secret_value() if key else ""
        self._headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._session = aiohttp.ClientSession(timeout=_SHORT)

    @classmethod
    def of(cls, model: Model) -> Self:
        """The server of a model. Raises `SetupError` where its key is named and not there."""
        if model.server is None:
            raise SetupError(f"{model.name} has no server in the catalogue. Give it one: server = {{ url = …, … }}.")
        variable = model.server.key_variable
        key = os.environ.get(variable) if variable else None
        if variable and not key:
            raise SetupError(f"{variable}: not set; {model.name} needs it as the key of its server.")
        return cls(model.server, SecretStr(key) if key else None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections."""
        await self._session.close()

    async def create(self, fields: Mapping[str, str], photo: bytes) -> Remote:
        """Ask for a clip. Raises `RetryableError`, `BusyError`, or `SetupError` where the host has to mend it."""
        form = aiohttp.FormData()
        for name, value in fields.items():
            form.add_field(name, value)
        form.add_field("input_reference", photo, filename="photo.png", content_type="image/png")
        with transport(f"asking {self.name} for a clip"):
            async with self._session.post(self._videos, data=form, headers=self._headers, timeout=TIMEOUT) as response:
                if response.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
                    raise BusyError(f"{self.name} takes no more clips now", retry_after(response, 5.0))
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise await self._refusal(response)
                return await self._job(response)

    async def look(self, external_id: str) -> Remote:
        """How a job is. Raises `ForgottenError`, `RetryableError`, `SetupError`."""
        with transport(f"asking {self.name} for progress"):
            async with self._session.get(self._videos / external_id, headers=self._headers) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    raise ForgottenError(f"{self.name} does not know its job any more")
                if response.status >= HTTPStatus.BAD_REQUEST:
                    failed = await self._failed_job(response)
                    if failed is not None:
                        return failed
                    raise await self._refusal(response)
                return await self._job(response)

    async def fetch(self, external_id: str, target: Path) -> None:
        """Download a completed job's clip. Raises as `download` does."""
        await download(self._session, self._videos / external_id / "content", target, headers=self._headers)

    async def abort(self, external_id: str) -> bool:
        """Have a job ended and forgotten, as well as the server can: some render on to the end of it. Was it heard?"""
        try:
            async with self._session.delete(
                self._videos / external_id, headers=self._headers, timeout=_LAST_WORD
            ) as response:
                log.info("Aborting a job on %s was answered with status %d.", self.name, response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("Could not abort a job on %s: %s", self.name, type(error).__name__)
            return False
        return response.status < HTTPStatus.BAD_REQUEST or response.status in _NOTHING_TO_ABORT

    async def check(self) -> None:
        """Return if the server is up, has its model and takes our key. Raises `RetryableError`, `SetupError`."""
        for place in (URL(self._server.url) / "health", self._videos):
            with transport(f"asking {self.name} how it is"):
                async with self._session.get(place, headers=self._headers, timeout=_LAST_WORD) as response:
                    if response.status >= HTTPStatus.BAD_REQUEST:
                        raise await self._refusal(response)

    @property
    def name(self) -> str:
        """What it is called in sentences for the host."""
        return f"the {self._server.dialect} server at {self._server.url}"

    async def _job(self, response: aiohttp.ClientResponse) -> Remote:
        try:
            job = _Job.model_validate_json(await response.read())
        except ValidationError as error:
            raise RetryableError(f"{self.name} did not answer with a video job") from error
        reason = self._without_key((job.error.message if isinstance(job.error, _Fault) else job.error) or "")
        return Remote(job.id, _STATUSES.get(job.status, Status.LOST), job.progress or 0.0, reason[:_LONGEST_REASON])

    async def _failed_job(self, response: aiohttp.ClientResponse) -> Remote | None:
        """A failed job, where the server tells of it as a fault of its own."""
        try:
            job = await self._job(response)
        except RetryableError:
            return None
        return job if job.status is Status.FAILED else None

    async def _refusal(self, response: aiohttp.ClientResponse) -> ZoetropeError:
        words = self._without_key((await response.text(errors="replace"))[:_LONGEST_REASON].strip())
        match response.status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                variable = self._server.key_variable
                fix = f"Correct {variable}." if variable else "Name the variable of its key as key_variable."
                return ServerError(f"{self.name} refuses the key. {fix}")
            case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
                return ServerError(f"{self.name} has no /v1/videos there. Correct its url in the catalogue.")
            case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return RetryableError(f"{self.name} answered with status {status}: {words}")
            case status:
                return SetupError(f"{self.name} refuses what the catalogue has us send (status {status}): {words}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text
