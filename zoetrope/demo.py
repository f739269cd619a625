"""`zoetrope demo`: all of it on this machine, with nothing of the host's: no token, no GPU, no account, no database.

A Postgres, the sandbox, the bot and a generator, each a process of its own; a member of the sandbox animates a photo as
one would in Discord. What it makes stays in `demo` in the home folder: a second start finds it again.
"""

import asyncio
import os
import re
import select
import shutil
import socket
import sys
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clips import intakes, requests
from clips.catalog import Catalog
from clips.domain import RequestId
from clips.embedded import embedded
from clips.errors import MemberError, SetupError
from clips.migrate import migrate
from clips.postgres import Pool, Session, connect, connect_pool
from clips.settings import Settings
from courier.buttons import Action, ButtonId
from generator.engines.loading import check_runnable
from zoetrope.member import Attachment, Member, Message, first_member
from zoetrope.offered import check_goes_on, is_offered_at
from zoetrope.progress import take_bars
from zoetrope.supervise import Child, Children, supervised
from zoetrope.weights import terms_of_fetching

_POLL = 0.2
_ANSWER_WITHIN = 60.0
_MEBI = 1024**2
_LEAST_DISK = 100 * _MEBI
"""An empty Postgres takes half of it."""
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
        """Raises `SetupError` or `MemberError` with the one thing to do. Cancelling ends it in good order."""
        try:
            await self._run()
        except asyncio.CancelledError:
            self.console.print("Stopped. `make demo` again finds everything where it was.")
            if self.once:  # it was to end with a clip, and there is none
                raise

    async def _run(self) -> None:
        home = self._home
        async with AsyncExitStack() as stack:
            self._say("Starting Postgres")
            dsn = await stack.enter_async_context(embedded(home / "postgres"))
            await _migrate(dsn)
            if terms := terms_of_fetching(Catalog.load(self.settings.catalog).find(self.model)):
                self._tell(terms)
            children = await stack.enter_async_context(supervised(home / "logs"))
            for child in self._children(home, dsn, children):
                self._say(f"Starting the {child.name}")
                await children.start(child)
            self._tell(f"page: {self._address}/")
            await children.guard(self._animate(dsn, home / "clips", children.pids))
            if not self.once:
                self._tell(
                    f"Open {self._address}/ in a browser and try `/animate` with a photo of yours. Ctrl-C stops all."
                )
                await children.guard(_terminal_closed())

    def check(self) -> None:
        """What can be known to be wrong before anything is started, or torch installed. Raises as `run` does."""
        check_runnable(Catalog.load(self.settings.catalog).find(self.model))
        if not self.photo.is_file():
            raise SetupError(f"There is no photo {self.photo}. Name one with PHOTO=path (or --photo).")
        for folder in (self._home, *(self._home.iterdir() if self._home.is_dir() else ())):
            if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise SetupError(
                    f"No right to use {folder}: it belongs to another user. "
                    "Start as that user, or choose another folder with ZOETROPE_HOME."
                )
        disk = next(folder for folder in (self._home, *self._home.parents) if folder.exists())
        if (free := shutil.disk_usage(disk).free) < _LEAST_DISK:
            raise SetupError(
                f"The disk that holds {disk} is full: {free / _MEBI:.0f} MiB are free, and a start needs "
                f"{_LEAST_DISK / _MEBI:.0f}. Free some space, or choose another folder with ZOETROPE_HOME."
            )
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise SetupError(
                    f"Port {self.port} cannot be had ({error.strerror}); perhaps another demo runs. Stop that, "
                    "or choose another port with PORT=number (or --port)."
                ) from error

    def _children(self, home: Path, dsn: str, running: Children) -> tuple[Child, ...]:
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
                ready=lambda: is_offered_at(dsn, self.model, running.pids),
                ready_bound=180,  # the hub may be slow to answer, and torch to come from the disk
                stop_bound=60,
            ),
        )

    async def _animate(self, dsn: str, clips: Path, pids: Collection[int]) -> None:
        """Send the photo through `/animate` as a member, and follow its messages until the last take has ended."""
        session = Session("zoetrope demo")
        async with first_member(self._address) as member, connect_pool(dsn, session, max_size=1) as pool:
            command = await member.command("animate")
            values = {"photo": await member.upload(self.photo), "motion": self.motion, "model": self.model}
            self._tell(f"{member.name} sends {self.photo} with /animate, motion: “{self.motion}”")
            request_id = await _accepted(pool, member, await member.invoke(command, values))
            saved: dict[str, Path] = {}
            with take_bars(self.console, transient=True) as show:
                while True:
                    if whole := await requests.read(pool, member.guild_id, request_id):
                        show(whole)
                    await check_goes_on(pool, self.model, whole, pids)
                    messages = await _messages(member, request_id)
                    for clip in (clip for message in messages for clip in message.attachments):
                        if clip.filename not in saved:
                            saved[clip.filename] = await _save(member, clip, clips)
                            self._tell(f"clip: {saved[clip.filename]}")
                    live = any(_is_live(message) for message in messages)
                    if messages and (not live or (saved and self.once)):
                        break
                    await asyncio.sleep(_POLL)
            if not saved:
                raise MemberError(
                    f"{_plain(messages[-1].content)} {_last_fault(self._home / 'logs' / 'generator.log')}"
                )

    def _say(self, words: str) -> None:
        self.console.print(f"[dim]{words} …[/]", highlight=False)

    def _tell(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @property
    def _home(self) -> Path:
        return self.settings.home.absolute() / "demo"

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _last_fault(log: Path) -> str:
    """What the generator wrote down last of a fault. Members are spared it; who runs a try-out is the host too."""
    faults: list[str] = re.findall(r"^[\w.]+(?:Error|Exception): .+", log.read_text(errors="replace"), re.MULTILINE)
    return f"{log} says more" + (f": {faults[-1]}" if faults else ".")


async def _terminal_closed() -> None:
    """Returns once the terminal that we write to is gone. `make` keeps to itself what the terminal tells it of that."""
    poll = select.poll()
    if sys.stdout.isatty():
        poll.register(sys.stdout, 0)
    while not poll.poll(0):  # noqa: ASYNC110 - a terminal has no event to wait for
        await asyncio.sleep(1)


async def _migrate(dsn: str) -> None:
    conn = await connect(dsn, Session("zoetrope demo"))
    try:
        await migrate(conn)
    finally:
        await conn.close()


async def _accepted(pool: Pool, member: Member, interaction_id: str) -> RequestId:
    """The request that a command led to. Raises `MemberError` with the refusal, if it was refused."""
    deadline = time.monotonic() + _ANSWER_WITHIN
    while time.monotonic() < deadline:
        if (request_id := await requests.by_interaction(pool, int(interaction_id))) is not None:
            return request_id
        # Not the words of the answer: at first they tell what will be made.
        failure, _ = await member.answer(interaction_id)
        if refusal := failure or await intakes.refusal(pool, int(interaction_id)):
            raise MemberError(_plain(refusal))
        await asyncio.sleep(_POLL)
    raise SetupError(f"The bot did not answer within {_ANSWER_WITHIN:.0f} s. Is this machine overloaded? Start again.")


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
