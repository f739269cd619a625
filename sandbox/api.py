"""What every REST request meets on its way in and out: token, limits, refusals as JSON, headers, the record."""

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox import refusals
from sandbox.forms import PAYLOAD
from sandbox.limits import Limits, slow_down
from sandbox.record import Exchange, Record
from sandbox.refusals import Refusal
from sandbox.replies import body_of, reply
from sandbox.world import World

PREFIX = "/api/v10"
_log = logging.getLogger(__name__)


def middleware(world: World, limits: Limits, record: Record) -> Middleware:
    """Wraps every route under `/api/v10`, the unknown ones too."""

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is None or request.match_info.http_exception is not None:
            record.unknown[f"{request.method} {request.path}"] += 1
            return reply({"message": "404: Not Found", "code": 0}, status=404)
        template = resource.canonical.removeprefix(PREFIX)
        record.calls[f"{request.method} {template}"] += 1
        by_interaction = template.startswith(("/interactions/", "/webhooks/"))
        verdict = limits.take(f"{request.method} {template}", _major(request), counts_everywhere=not by_interaction)
        authorized = by_interaction or request.headers.get("Authorization") == f"Bot {world.token}"
        if not authorized:
            response = _refuse(refusals.unauthorized())
        elif not verdict.allowed:
            response = reply(slow_down(verdict.retry_after, everywhere=verdict.everywhere), status=429)
        else:
            response = await _answer(request, handler)
        response.headers.update(verdict.headers)
        record.add(Exchange(request.method, template, request.get(PAYLOAD), response.status, body_of(response)))
        return response

    return serve


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A route's answer, or why there is none."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _refuse(refusal)
    except web.HTTPRequestEntityTooLarge:
        return _refuse(refusals.too_large())
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 - a fault of the sandbox is told as Discord tells its own, and logged
        _log.exception("%s %s failed", request.method, request.path)
        return reply({"message": "500: Internal Server Error", "code": 0}, status=500)


def _refuse(refusal: Refusal) -> web.Response:
    return reply(refusal.body, status=refusal.status)


def _major(request: web.Request) -> str:
    """The channel, server or webhook of a request: buckets are kept apart by it."""
    names = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_id")
    return "/".join(request.match_info.get(name, "") for name in names)
