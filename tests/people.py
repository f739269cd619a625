"""The two sides of a sandbox, for tests: a member at the member API, and an application's bare REST calls."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

Json = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer that tests expect
    """The member API said no; the text is its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Person:
    """A member. `session` has the sandbox's address as its base."""

    def __init__(self, session: aiohttp.ClientSession, user_id: int) -> None:
        self._session = session
        self.id = str(user_id)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """One request to `/member`; raises `Refused`."""
        parameters = {"as": self.id, **options.pop("params", {})}
        async with self._session.request(method, f"/member{path}", params=parameters, **options) as response:
            if response.status >= 400:
                raise Refused(response.status, (await response.json())["error"])
            return await response.json() if response.status != 204 else None

    async def world(self) -> Json:
        return await self.ask("GET", "/world")

    async def guild(self, name: str) -> Json:
        return next(one for one in (await self.world())["guilds"] if one["name"] == name)

    async def channel(self, name: str, guild: str = "Lantern House") -> str:
        """A channel's id by its name."""
        return next(one["id"] for one in (await self.guild(guild))["channels"] if one["name"] == name)

    async def messages(self, channel: str) -> list[Json]:
        return await self.ask("GET", f"/channels/{channel}/messages")

    async def write(self, channel: str, content: str = "", **more: Any) -> Json:
        return await self.ask("POST", "/messages", json={"channel_id": channel, "content": content, **more})

    async def upload(self, content: bytes, filename: str) -> str:
        """Uploads a file; its upload id."""
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", content, filename=filename)
        return (await self.ask("POST", "/attachments", data=form))["upload_id"]

    async def use(self, channel: str, command: str, *options: Json, target: str | None = None) -> str:
        """Uses a command by its name; the interaction's id."""
        body: Json = {"channel_id": channel, "command_id": await self.command_id(channel, command)}
        body |= {"options": [*options]} | ({"target_id": target} if target else {})
        return (await self.ask("POST", "/commands", json=body))["interaction_id"]

    async def command_id(self, channel: str, command: str) -> str:
        guilds = (await self.world())["guilds"]
        here = next(one for one in guilds if channel in {place["id"] for place in one["channels"]})
        return next((one["id"] for one in here["commands"] if one["name"] == command), "0")

    async def press(self, message: Json, custom_id: str, values: Sequence[str] | None = None) -> str:
        """Presses a button or chooses from a menu; the interaction's id."""
        body: Json = {"channel_id": message["channel_id"], "message_id": message["id"], "custom_id": custom_id}
        return (await self.ask("POST", "/components", json=body | ({"values": values} if values else {})))[
            "interaction_id"
        ]

    async def fill(self, interaction: str, values: Mapping[str, object]) -> str:
        """Sends off the modal that an interaction opened; the new interaction's id."""
        body = {"interaction_id": interaction, "values": values}
        return (await self.ask("POST", "/modals", json=body))["interaction_id"]

    async def outcome(self, interaction: str, *, until: int = 0, within: float = 60) -> Json:
        """An interaction once it is answered, and `until` messages of it have come that are not “thinking”."""
        ends = time.monotonic() + within
        while True:
            now = await self.ask("GET", f"/interactions/{interaction}")
            ready = [one for one in now["messages"] if not one["flags"] & 128]
            if now["state"] != "waiting" and len(ready) >= until:
                return now
            assert time.monotonic() < ends, f"not answered in {within} s: {now}"
            await asyncio.sleep(0.02)


class Rest:
    """An application's REST calls without any library; `session` as for `Person`."""

    def __init__(self, session: aiohttp.ClientSession, token: str = "sandbox") -> None:
        self._session = session
        self._headers = {"Authorization": f"Bot {token}"}

    async def __call__(self, method: str, path: str, body: object = None, **options: Any) -> tuple[int, Any]:
        """Status and JSON body. A `FormData` goes out as multipart, anything else as JSON."""
        if body is not None:
            options["data" if isinstance(body, aiohttp.FormData) else "json"] = body
        address = f"/api/v10{path}"
        async with self._session.request(method, address, headers=self._headers, **options) as response:
            return response.status, await response.json() if response.content_type == "application/json" else None


class Controls:
    """The sandbox's test controls."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, path: str, body: object) -> None:
        """One POST to `/control`, which must be taken."""
        async with self._session.post(f"/control{path}", json=body) as response:
            assert response.status == 204, await response.text()


def option(name: str, kind: int, value: object) -> Json:
    """One filled-in option of a command."""
    return {"name": name, "type": kind, "value": value}


def multipart(payload: object, *files: tuple[str, bytes]) -> aiohttp.FormData:
    """`payload_json` with `files[n]`, each a name and its bytes."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("payload_json", json.dumps(payload), content_type="application/json")
    for number, (name, content) in enumerate(files):
        form.add_field(f"files[{number}]", content, filename=name)
    return form
