"""How the member and control APIs say no: one sentence in JSON."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.fields import Fields
from sandbox.forms import as_object, read_json
from sandbox.records import Json
from sandbox.refusals import Refusal, SentenceError


def sentences() -> Middleware:
    """Turns refusals into `{"error": "a sentence"}`."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SentenceError as error:
            return _json(error.status, str(error))
        except Refusal as refusal:
            return _json(refusal.status, _first(refusal.body) or str(refusal))
        except web.HTTPNotFound:
            return _json(404, "There is nothing at this address.")
        except web.HTTPMethodNotAllowed:
            return _json(405, "This address does not take that.")

    return answer


async def read_fields(request: web.Request) -> Fields:
    """A JSON body of these APIs."""
    return Fields(as_object(await read_json(request)))


def _json(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _first(body: Json, path: str = "") -> str | None:
    """The first problem in an error tree, with its path."""
    errors = body.get("errors", body if path else None)
    if not isinstance(errors, dict):
        return None
    listed = errors.get("_errors")
    if isinstance(listed, list):
        return f"{path}: {listed[0]['message']}"
    return next((_first(below, f"{path}.{name}".lstrip(".")) for name, below in errors.items()), None)
