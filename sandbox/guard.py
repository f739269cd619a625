"""Who may talk to the server: this machine's own pages and programs, by the names that mean this machine."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})


def guard() -> Middleware:
    """Refuses a foreign Host (a name pointed here: DNS rebinding) and a foreign Origin (another site's page)."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host.partition(":")[0] not in LOCAL_NAMES:
            return web.json_response({"error": "This server answers only by its local address."}, status=403)
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{request.host}":
            return web.json_response({"error": "Another site's page may not use this server."}, status=403)
        return await handler(request)

    return check
