"""What every REST request meets on its way in and out: token, limits, refusals as JSON, headers, the record."""

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox import refusals
from sandbox.forms import PAYLOAD
from sandbox.limits import Limits
from sandbox.record import Exchange, Record
from sandbox.records import Json
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
            return reply(status=404, body={"message": "404: Not Found", "code": 0})
        template = resource.canonical.removeprefix(PREFIX)
        record.calls[f"{request.method} {template}"] += 1
        by_interaction = template.startswith(("/interactions/", "/webhooks/"))
        verdict = limits.take(f"{request.method} {template}", _major(request), counts_everywhere=not by_interaction)
        headers = verdict.headers
        try:
            if not by_interaction and request.headers.get("Authorization") != f"Bot {world.token}":
                raise refusals.unauthorized()
            if verdict.allowed:
                response = await handler(request)
            else:
                response = reply(status=429, body=_slow_down(verdict.retry_after, everywhere=verdict.everywhere))
        except Refusal as refusal:
            response = reply(status=refusal.status, body=refusal.body)
        except web.HTTPRequestEntityTooLarge:
            response = reply(status=413, body=refusals.too_large().body)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            response = reply(status=500, body={"message": "500: Internal Server Error", "code": 0})
        response.headers.update(headers)
        record.add(Exchange(request.method, template, request.get(PAYLOAD), response.status, body_of(response)))
        return response

    return serve


def _slow_down(retry_after: float, *, everywhere: bool) -> Json:
    return {"message": "You are being rate limited.", "retry_after": retry_after, "global": everywhere, "code": 0}


def _major(request: web.Request) -> str:
    """The channel, server or webhook of a request: buckets are kept apart by it."""
    names = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_id")
    return "/".join(request.match_info.get(name, "") for name in names)
