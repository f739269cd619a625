"""Replicate's HTTP API, as far as it is needed: files, predictions, the account. It knows neither takes nor models.

There is no idempotency: a create whose answer is lost may count. `create` tells that case from every other.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

import aiohttp
from pydantic import AwareDatetime, BaseModel, JsonValue, SecretStr, TypeAdapter, ValidationError
from yarl import URL

from clips.errors import RetryableError, SetupError, ZoetropeError
from clips.hosted_jobs import Body
from generator.engines.http import guarded_connector, retry_after, transport

_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10, sock_read=30)
_CREATE_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=60)
_ERROR_BYTES = 64 * 1024
_RESETS = re.compile(r"(?:resets?|retry|available|again) in ~?(\d+)\s*s", re.IGNORECASE)
_PAUSE = 10.0  # seconds, where a refusal for haste names none
_LONGEST_PAUSE = 120.0


class OutcomeUnknownError(ZoetropeError):
    """The provider may have created a prediction: its answer did not come, or said nothing."""


class RefusedError(ZoetropeError):
    """The provider refused a request as such, and nothing came of it. `status` is HTTP's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"Replicate answered {status}: {detail}")
        self.status = status
        self.detail = detail


class HasteError(ZoetropeError):
    """Too many requests: nothing came of this one. `pause`: seconds until another may be welcome."""

    def __init__(self, pause: float) -> None:
        super().__init__(f"Replicate asks for a pause of {pause:g} s")
        self.pause = pause


class AccountError(SetupError):
    """The account takes no work: the key is refused, or there is no credit left."""


class Metrics(BaseModel):
    """What a prediction took. Seconds of the machine."""

    predict_time: float | None = None


class Prediction(BaseModel):
    """One prediction. `status` is a plain word: new ones come, and old clients wait for them for ever."""

    id: str
    status: str
    output: JsonValue = None
    error: JsonValue = None
    input: dict[str, JsonValue] | None = None
    metrics: Metrics | None = None
    created_at: AwareDatetime | None = None
    completed_at: AwareDatetime | None = None
    data_removed: bool = False

    @property
    def over(self) -> bool:
        return self.status in {"succeeded", "failed", "canceled", "aborted"} or self.completed_at is not None

    @property
    def clip(self) -> str | None:
        """The address of what was made."""
        output = self.output[0] if isinstance(self.output, list) and self.output else self.output
        return output if isinstance(output, str) else None


class Uploaded(BaseModel):
    """A file at the provider: its name there, and the address under which a model fetches it."""

    class Urls(BaseModel):
        get: str

    id: str
    urls: Urls


class _Account(BaseModel):
    username: str | None = None


class _Page(BaseModel):
    results: list[Prediction]
    next: str | None = None


class _Version(BaseModel):
    id: str


class _Versions(BaseModel):
    results: list[_Version]


_Answer = TypeVar("_Answer", bound=BaseModel)


class Replicate:
    """One account. The key goes into a header of requests to the API and nowhere else."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, key: SecretStr) -> None:
        self.account: str | None = None
        """The provider's name for whose key it is, once that was checked."""
        self._session = session
        self._base = base
        self._key = SecretStr(key.get_secret_value().strip())

    @classmethod
    @asynccontextmanager
    async def open(cls, base: URL, key: SecretStr) -> AsyncGenerator[Self]:
        """Connections for as long as the block lasts; also `session`'s, for downloads."""
        async with aiohttp.ClientSession(connector=guarded_connector(base)) as session:
            yield cls(session, base, key)

    @property
    def session(self) -> aiohttp.ClientSession:
        """For what lies at public addresses: it carries no key."""
        return self._session

    async def check(self) -> None:
        """Return if the key is taken. Raises `AccountError`, `RetryableError`."""
        try:
            self.account = _read(_Account, await self._asked("GET", "/v1/account")).username
        except RefusedError as error:
            raise AccountError(f"Replicate does not let the key in REPLICATE_API_TOKEN in: {error}.") from error
        except HasteError as error:
            raise RetryableError(str(error)) from error

    async def upload(self, path: Path, media_type: str, name: str) -> Uploaded:
        """Put a file where models can fetch it. Raises as `get`."""
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("content", file, filename=name, content_type=media_type)
            answer = await self._asked("POST", "/v1/files", form=form, timeout=_UPLOAD_TIMEOUT)
        return _read(Uploaded, answer)

    async def delete_file(self, file_id: str) -> None:
        """Remove an upload. Gone already: nothing happens."""
        try:
            await self._asked("DELETE", f"/v1/files/{file_id}")
        except RefusedError as error:
            if error.status not in {404, 410}:
                raise

    async def version(self, slug: str, beginning: str) -> str:
        """The whole version of a community model that begins so. Raises `SetupError` where there is none."""
        answer = await self._asked("GET", f"/v1/models/{slug}/versions")
        for version in _read(_Versions, answer).results:
            if version.id.startswith(beginning):
                return version.id
        raise SetupError(f"Replicate lists no version of {slug} that begins with {beginning}. Correct its entry.")

    async def page(self, slug: str, version: str | None = None) -> bytes:
        """What there is to know of a model's newest version or of a certain one, its schema too. Raises as `get`."""
        return await self._asked("GET", f"/v1/models/{slug}" + (f"/versions/{version}" if version else ""))

    async def create(self, body: Body) -> Prediction:
        """Ask for a prediction; this may cost money. Raises `OutcomeUnknownError` where nobody knows whether there is
        one now, and `HasteError`, `RefusedError`, `AccountError`, `RetryableError` (no connection) where there is none.
        """
        try:
            return _read(Prediction, await self._asked("POST", "/v1/predictions", body=body, timeout=_CREATE_TIMEOUT))
        except RetryableError as error:
            if isinstance(error.__cause__, aiohttp.ClientConnectorError):
                raise
            raise OutcomeUnknownError(str(error)) from error

    async def get(self, prediction_id: str) -> Prediction:
        """Raises `RetryableError`, `HasteError`, `RefusedError` (404: it is forgotten), `AccountError`."""
        return _read(Prediction, await self._asked("GET", f"/v1/predictions/{prediction_id}"))

    async def cancel(self, prediction_id: str) -> None:
        """Ask for an end. One that is over already stays as it is."""
        try:
            await self._asked("POST", f"/v1/predictions/{prediction_id}/cancel")
        except RefusedError as error:
            if error.status not in {400, 404, 409, 422}:
                raise

    async def since(self, moment: datetime) -> Sequence[Prediction]:
        """All predictions of the account from then on, newest first, each once. Raises as `get`."""
        # By name: what is created while the list is read may push one that was on a page onto the next.
        found: dict[str, Prediction] = {}
        path: str | None = "/v1/predictions"
        while path is not None:
            page = _read(_Page, await self._asked("GET", path))
            for one in page.results:
                found.setdefault(one.id, one)
            oldest = page.results[-1].created_at if page.results else None
            beyond = oldest is not None and oldest < moment
            path = None if beyond or page.next is None else URL(page.next).raw_path_qs
        return [one for one in found.values() if (one.created_at or datetime.now(UTC)) >= moment]

    async def _asked(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        form: aiohttp.FormData | None = None,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,  # noqa: ASYNC109 - of the whole request, kept by the library
    ) -> bytes:
        url = self._base.join(URL(path, encoded=True))
        headers = {"Authorization": f"Bearer {self._key.get_secret_value()}"}
        with transport(f"a request to Replicate ({method})"):
            async with self._session.request(
                method, url, json=body, data=form, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status < 300:
                    return await response.read()
                raise self._refusal(response, await response.content.read(_ERROR_BYTES))

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> ZoetropeError:
        said = self._without_key(_detail(body))
        match response.status:
            case 401:
                return AccountError(f"Replicate refuses the key in REPLICATE_API_TOKEN ({said}). Set one that works.")
            case 402:
                return AccountError(f"Replicate's account is out of credit ({said}). Add some at its billing page.")
            case 429:
                resets = _RESETS.search(said)
                pause = float(resets[1]) if resets else retry_after(response, _PAUSE, _LONGEST_PAUSE)
                return HasteError(min(pause, _LONGEST_PAUSE))
            case status if status >= 500:
                return RetryableError(f"Replicate answered {status}: {said}")
            case status:
                return RefusedError(status, said)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key.get_secret_value(), "…")


def _read(kind: type[_Answer], answer: bytes) -> _Answer:
    try:
        return kind.model_validate_json(answer)
    except ValidationError as error:
        raise RetryableError("Replicate's answer was not what its API describes") from error


def _detail(body: bytes) -> str:
    """What a refusal says, in one short line."""
    text = body.decode(errors="replace")
    try:
        told = TypeAdapter(dict[str, JsonValue]).validate_json(text)
    except ValidationError:
        told = {}
    said = told.get("detail") or told.get("title") or ""
    return " ".join(str(said).split())[:300] or "it did not say why"
