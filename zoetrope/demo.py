"""`zoetrope demo`: all of it on this machine, with nothing of the host's: no token, no GPU, no account, no database.

A Postgres, the sandbox, the bot and a generator, each a process of its own; a member of the sandbox animates a photo as
one would in Discord. What it makes stays in `demo` in the home folder: a second start finds it again.
"""

import asyncio
import re
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clips import requests
from clips.catalog import Catalog
from clips.domain import RequestId
from clips.embedded import embedded
from clips.errors import MemberError, SetupError
from clips.migrate import migrate
from clips.postgres import Pool, Session, connect, connect_pool
from clips.settings import Settings
from courier.buttons import Action, ButtonId
from zoetrope.member import Attachment, Member, Message, first_member
from zoetrope.supervise import Child, supervised

_POLL = 0.2
_ANSWER_WITHIN = 60.0
_TOKEN = "sandbox"  # noqa: S105 - the one token that the sandbox takes; it opens nothing else


@dataclass(frozen=True, slots=True)
class Demo:
    """One try-out. `once`: it ends with the first clip, else it stays up until it is stopped."""

    settings: Settings
    console: Console
    photo: Path
    motion: str
    model: str
    port: int
    once: bool

    async def run(self) -> None:
        """Raises `SetupError` or `MemberError` with the one thing to do. Ctrl-C ends it in good order."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, task.cancel)
        try:
            await self._run()
        except asyncio.CancelledError:
            self.console.print("Stopped. `make demo` again finds everything where it was.")

    async def _run(self) -> None:
        self._check()
        home = self.settings.home.absolute() / "demo"
        async with AsyncExitStack() as stack:
            self._say("Starting Postgres")
            dsn = await stack.enter_async_context(embedded(home / "postgres"))
            await _migrate(dsn)
            children = await stack.enter_async_context(supervised(home / "logs"))
            for child in self._children(home, dsn):
                self._say(f"Starting the {child.name}")
                await children.start(child)
            self.console.print(f"page: {self._address}/", highlight=False)
            await children.guard(self._animate(dsn, home / "clips"))
            if not self.once:
                self.console.print(
                    f"Open {self._address}/ in a browser and try `/animate` with a photo of yours. Ctrl-C stops all.",
                    highlight=False,
                    soft_wrap=True,
                )
                await children.guard(asyncio.Event().wait())

    def _check(self) -> None:
        """What can be known to be wrong before anything is started."""
        Catalog.load(self.settings.catalog).find(self.model)
        if not self.photo.is_file():
            raise SetupError(f"There is no photo {self.photo}. Name one with PHOTO=path (or --photo).")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise SetupError(
                    f"Port {self.port} cannot be had ({error.strerror}); perhaps another demo runs. Stop that, "
                    "or choose another port with PORT=number (or --port)."
                ) from error

    def _children(self, home: Path, dsn: str) -> tuple[Child, ...]:
        """In the order of their start; they are stopped the other way round."""
        python = [sys.executable, "-m"]
        shared = {
            "DATABASE_URL": dsn,
            "DISCORD_TOKEN": _TOKEN,
            "ZOETROPE_DISCORD_URL": self._address,
            "ZOETROPE_HOME": str(home),
            "ZOETROPE_BLOBS": str(home / "blobs"),
        }
        models = "sketch" if self.model == "sketch" else f"{self.model},sketch"
        sandbox = [*python, "sandbox", "--port", str(self.port), "--data", str(home / "sandbox"), "--with-parent"]
        return (
            Child("sandbox", sandbox, ready="sandbox: "),
            Child("bot", [*python, "bot"], shared),
            Child(
                "generator",
                [*python, "generator"],
                {**shared, "ZOETROPE_MODELS": models},
                ready=" runs ",
                stop_bound=60,
            ),
        )

    async def _animate(self, dsn: str, clips: Path) -> None:
        """Send the photo through `/animate` as a member, and follow its messages until the last take has ended."""
        session = Session("zoetrope demo")
        async with first_member(self._address) as member, connect_pool(dsn, session, max_size=1) as pool:
            command = await member.command("animate")
            values = {"photo": await member.upload(self.photo), "motion": self.motion, "model": self.model}
            self.console.print(
                f"{member.name} sends {self.photo} with /animate, motion: “{self.motion}”", highlight=False
            )
            request_id = await _accepted(pool, member, await member.invoke(command, values))
            saved: dict[str, Path] = {}
            with self.console.status("Waiting for the card") as status:
                while True:
                    messages = await _messages(member, request_id)
                    for clip in (clip for message in messages for clip in message.attachments):
                        if clip.filename not in saved:
                            saved[clip.filename] = await _save(member, clip, clips)
                            self.console.print(f"clip: {saved[clip.filename]}", highlight=False, soft_wrap=True)
                    live = any(_is_live(message) for message in messages)
                    if messages and (not live or (saved and self.once)):
                        break
                    status.update(" ".join(_plain(message.content) for message in messages if _is_live(message)))
                    await asyncio.sleep(_POLL)
            if not saved:
                raise MemberError(_plain(messages[-1].content))

    def _say(self, words: str) -> None:
        self.console.print(f"[dim]{words} …[/]", highlight=False)

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def _migrate(dsn: str) -> None:
    conn = await connect(dsn, Session("zoetrope demo"))
    try:
        await migrate(conn)
    finally:
        await conn.close()


async def _accepted(pool: Pool, member: Member, interaction_id: str) -> RequestId:
    """The request that a command led to. Raises `MemberError` with the refusal, if it was refused."""
    async with asyncio.timeout(_ANSWER_WITHIN):
        while True:
            failure, words = await member.answer(interaction_id)
            if (request_id := await requests.by_interaction(pool, int(interaction_id))) is not None:
                return request_id
            if failure or words:
                raise MemberError(_plain(failure or words))
            await asyncio.sleep(_POLL)


async def _messages(member: Member, request_id: RequestId) -> list[Message]:
    """The channel's messages with a button of the request."""
    return [
        message
        for message in await member.messages()
        if any((button := ButtonId.parse(one)) and button.request_id == request_id for one in message.buttons)
    ]


def _is_live(message: Message) -> bool:
    """A card of a request that still waits or renders can be cancelled."""
    return any((button := ButtonId.parse(one)) and button.action is Action.CANCEL for one in message.buttons)


async def _save(member: Member, clip: Attachment, folder: Path) -> Path:
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    target = folder / clip.filename
    await member.save(clip, target)
    return target


def _plain(content: str) -> str:
    """A message's text for a terminal: without marks, moments as seconds from now, on one line."""
    told = re.sub(r"<t:(\d+):R>", lambda moment: f"in {max(0, int(moment[1]) - round(time.time()))} s", content)
    return " ".join(re.sub(r"\*\*|^-# |<@\d+> ?", "", told, flags=re.MULTILINE).split())
