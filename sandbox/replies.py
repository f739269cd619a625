"""JSON answers of the REST API."""

import json
from collections.abc import Mapping

from aiohttp import web


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer whose content type is exactly `application/json`: with a charset discord.py takes it for text."""
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json", headers=headers)


def body_of(response: web.StreamResponse) -> object:
    """What a JSON answer says; None for one without a body."""
    return (
        json.loads(response.body) if isinstance(response, web.Response) and isinstance(response.body, bytes) else None
    )
