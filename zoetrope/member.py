"""A member of the sandbox without a browser: what `zoetrope demo` uses to send a photo through `/animate`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Self

import aiohttp

from clips.domain import GuildId
from clips.errors import SetupError

_COMMANDS_WITHIN = 30.0
_POLL = 0.25


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message, at an address that works for a while."""

    filename: str
    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel shows: words, files, the ids of its buttons, and the ids of whom it mentions."""

    message_id: str
    content: str
    attachments: tuple[Attachment, ...]
    buttons: tuple[str, ...]
    mentions: frozenset[str]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Self:
        return cls(
            message_id=raw["id"],
            content=raw["content"],
            attachments=tuple(Attachment(one["filename"], one["url"]) for one in raw["attachments"]),
            buttons=tuple(
                part["custom_id"]
                for row in raw["components"]
                for part in row.get("components", ())
                if "custom_id" in part
            ),
            mentions=frozenset(user["id"] for user in raw["mentions"]),
        )


class Member:
    """One member in one channel of the sandbox."""

    def __init__(
        self, session: aiohttp.ClientSession, user_id: str, name: str, guild_id: GuildId, channel_id: str
    ) -> None:
        self.user_id = user_id
        self.name = name
        self.guild_id = guild_id
        self.channel_id = channel_id
        self._session = session

    async def command(self, name: str) -> dict[str, Any]:
        """A slash command as Discord describes it; waits a while for the bot to register it."""
        deadline = monotonic() + _COMMANDS_WITHIN
        while monotonic() < deadline:
            world = await self._get("/member/world")
            guild = next(one for one in world["guilds"] if int(one["id"]) == self.guild_id)
            for command in guild["commands"]:
                if command["name"] == name and command.get("type", 1) == 1 and world["app"]["online"]:
                    return command
            await asyncio.sleep(_POLL)
        raise SetupError(f"The bot did not come online with /{name} within {_COMMANDS_WITHIN:.0f} s. Start again.")

    async def upload(self, photo: Path) -> str:
        """Give a file for an attachment option; returns its upload id."""
        form = aiohttp.FormData()
        form.add_field("file", await asyncio.to_thread(photo.read_bytes), filename=photo.name)
        async with self._session.post("/member/attachments", params={"as": self.user_id}, data=form) as answer:
            return (await _json(answer))["upload_id"]

    async def invoke(self, command: dict[str, Any], values: dict[str, str]) -> str:
        """Send a slash command with the options given by name; returns the interaction's id."""
        types = {option["name"]: option["type"] for option in command["options"]}
        options = [{"name": name, "type": types[name], "value": value} for name, value in values.items()]
        body = {"channel_id": self.channel_id, "command_id": command["id"], "options": options}
        async with self._session.post("/member/commands", params={"as": self.user_id}, json=body) as answer:
            return (await _json(answer))["interaction_id"]

    async def answer(self, interaction_id: str) -> tuple[str | None, str]:
        """What an interaction came to: its failure, if it failed, and the words that only this member sees."""
        raw = await self._get(f"/member/interactions/{interaction_id}")
        return raw["error"], "\n".join(message["content"] for message in raw["messages"])

    async def messages(self) -> list[Message]:
        """The channel's last messages, oldest first."""
        return [Message.read(raw) for raw in await self._get(f"/member/channels/{self.channel_id}/messages")]

    async def save(self, attachment: Attachment, target: Path) -> None:
        """Download an attachment."""
        async with self._session.get(attachment.url) as answer:
            answer.raise_for_status()
            await asyncio.to_thread(target.write_bytes, await answer.read())

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        async with self._session.get(path, params={"as": self.user_id}) as answer:
            return await _json(answer)


@asynccontextmanager
async def first_member(address: str) -> AsyncGenerator[Member]:
    """The first member of the sandbox at `address`, in the first channel of their first server."""
    async with aiohttp.ClientSession(address) as session:
        async with session.get("/member/world") as answer:
            world = await _json(answer)
        person = next(user for user in world["users"] if not user["bot"])
        guild = next(
            guild for guild in world["guilds"] if any(one["user_id"] == person["id"] for one in guild["members"])
        )
        yield Member(
            session, person["id"], person["display_name"], GuildId(int(guild["id"])), guild["channels"][0]["id"]
        )


async def _json(answer: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 - JSON
    body = await answer.json()
    if answer.status >= 400:
        raise SetupError(f"The sandbox refused: {body.get('error', answer.reason)}")
    return body
