"""A sandbox for each test, whose record is checked against Discord's own description when the test ends."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import aiohttp
import pytest
from discord_client import pointed_at
from discord_schema import check_record
from people import Controls, Person, Rest

from sandbox import seed
from sandbox.server import Sandbox, running


@pytest.fixture
async def box(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Sandbox]:
    """A running sandbox; parametrized indirectly, the keyword arguments of `running`."""
    async with running(tmp_path / "world", **getattr(request, "param", {})) as sandbox:
        yield sandbox
    check_record(sandbox.record)


@pytest.fixture
async def session(box: Sandbox) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(box.address) as opened:
        yield opened


@pytest.fixture
def rest(session: aiohttp.ClientSession) -> Rest:
    return Rest(session)


@pytest.fixture
def control(session: aiohttp.ClientSession) -> Controls:
    return Controls(session)


@pytest.fixture
def mara(session: aiohttp.ClientSession) -> Person:
    """The moderator and owner, in both servers."""
    return Person(session, seed.MARA.id)


@pytest.fixture
def juno(session: aiohttp.ClientSession) -> Person:
    """A supporter, in both servers."""
    return Person(session, seed.JUNO.id)


@pytest.fixture
def theo(session: aiohttp.ClientSession) -> Person:
    """A member of Lantern House only."""
    return Person(session, seed.THEO.id)


@pytest.fixture
def at_sandbox(box: Sandbox) -> Generator[None]:
    """discord.py talks to the sandbox during this test."""
    with pointed_at(box.address):
        yield


@pytest.fixture
async def lobby(juno: Person) -> str:
    return await juno.channel("lobby")
