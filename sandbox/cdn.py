"""The file server: attachments by signed addresses, whole or in ranges."""

from aiohttp import web

from sandbox.world import World


class Files:
    """Serves attachment bytes; an address that is wrong or has expired is 404, as on Discord's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/cdn/attachments/{channel_id}/{attachment_id}/{filename}", self.get)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        numbers = request.match_info["channel_id"], request.match_info["attachment_id"]
        signature = (request.query.get(name, "") for name in ("ex", "is", "hm"))
        if not all(each.isdigit() for each in numbers):
            raise web.HTTPNotFound
        channel_id, attachment_id = (int(each) for each in numbers)
        found = self._world.store.attachments.get(attachment_id)
        signed = self._world.signer.valid(channel_id, attachment_id, *signature)
        path = self._world.store.path_of(attachment_id)
        if found is None or not signed or not path.is_file():
            return web.Response(status=404, text="This content is no longer available.")
        headers = {
            "Content-Type": found.content_type,
            # What members upload is shown, never run: no scripts, and no guessing of types.
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, max-age=3600",
        }
        if "download" in request.query:
            headers["Content-Disposition"] = f'attachment; filename="{found.filename}"'
        return web.FileResponse(path, headers=headers)
