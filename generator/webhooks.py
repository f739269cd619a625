"""What a provider calls when a job has ended: a small receiver of signed deliveries, for hosts with a public address.

A delivery is a hint and nothing more: it wakes whoever waits for that job, who then asks the provider. One that never
comes or comes twice changes nothing but the wait.
"""

import base64
import hmac
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web
from pydantic import BaseModel, SecretStr, ValidationError

from clips import hosted_jobs
from clips.errors import SetupError, ZoetropeError
from clips.notices import Notices
from clips.postgres import Pool
from clips.settings import Settings
from generator.engines.replicate.account import PROVIDER
from generator.engines.wakes import Calls, Wakes

log = logging.getLogger(__name__)

PATH = "/webhooks/replicate"
_WINDOW = 300.0
"""Seconds by which a delivery's time may differ from ours: an older one is a replay."""
_LARGEST = 1024 * 1024  # bytes of a delivery
_SHORTEST_KEY = 16  # bytes; anybody can guess an empty one
Wake = Callable[[str], Awaitable[None]]
"""Called with the provider's id of a job."""


class ForgedError(ZoetropeError):
    """The delivery is not the provider's, or not of now."""


class _Delivery(BaseModel):
    id: str


class Signatures:
    """Tells a provider's deliveries from anybody else's: HMAC-SHA256 over id, time and body (Standard Webhooks)."""

    def __init__(self, secret: SecretStr) -> None:
        """`secret` is `whsec_` and the key in base64. Raises `SetupError` where it is not."""
        try:
            self._key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
        except ValueError:
            self._key = b""
        if len(self._key) < _SHORTEST_KEY:
            raise SetupError("REPLICATE_WEBHOOK_SECRET: not what the provider gave: whsec_ and a key in base64.")

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """Raise `ForgedError` unless the body was signed with the key, and within five minutes of `now` (Unix time)."""
        name, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not moment.isdecimal() or abs(now - int(moment)) > _WINDOW:
            raise ForgedError("its time is not now")
        signed = hmac.digest(self._key, f"{name}.{moment}.".encode() + body, "sha256")
        expected = base64.b64encode(signed)
        given = (part.partition(",") for part in headers.get("webhook-signature", "").split())
        # Several signatures come while the provider changes its key; other versions than v1 are none of ours.
        matches = [hmac.compare_digest(expected, value.encode()) for version, _, value in given if version == "v1"]
        if not any(matches):
            raise ForgedError("its signature is wrong")


@asynccontextmanager
async def receiving(
    listen: str, signatures: Signatures, wake: Wake, clock: Callable[[], float] = time.time
) -> AsyncGenerator[str]:
    """Receive deliveries at `listen`, `host:port`, until the end of the block; gives the address that it got.

    Raises `SetupError` where nothing can listen there.
    """

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            signatures.check(request.headers, body, clock())
            delivery = _Delivery.model_validate_json(body)
        except ForgedError as error:
            log.warning("A delivery was refused: %s.", error)
            return web.Response(status=401)
        except ValidationError:
            return web.Response(status=422)
        await wake(delivery.id)
        return web.Response(status=204)

    app = web.Application(client_max_size=_LARGEST)
    app.router.add_post(PATH, receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        host, _, port = listen.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except (OSError, ValueError) as error:
            raise SetupError(f"ZOETROPE_WEBHOOK_LISTEN: cannot listen at {listen}: {error}.") from error
        address = runner.addresses[0]
        yield f"http://{address[0]}:{address[1]}{PATH}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def heard(settings: Settings, pool: Pool, notices: Notices) -> AsyncGenerator[Calls]:
    """How Replicate's calls are heard for the length of the block, whichever generator they come to.

    `notices` listens to `hosted_jobs.WOKEN`. Raises `SetupError` where calls are to be received here and cannot be.
    """
    wakes = Wakes()
    forget = notices.call(hosted_jobs.WOKEN, wakes.wake)
    address = f"{settings.webhook_url.rstrip('/')}{PATH}" if settings.webhook_url else None
    try:
        if settings.webhook_listen is None:
            yield Calls(wakes, address)
            return
        if settings.replicate_webhook_secret is None:
            raise SetupError("REPLICATE_WEBHOOK_SECRET is not set: without it nobody can tell who calls. Set it.")
        signatures = Signatures(settings.replicate_webhook_secret)
        async with receiving(settings.webhook_listen, signatures, partial(hosted_jobs.wake, pool, PROVIDER)) as here:
            log.info("Deliveries of Replicate are received at %s.", here)
            yield Calls(wakes, address)
    finally:
        forget()
