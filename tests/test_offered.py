"""Whose trouble ends a command that waits for a model, and when."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest

from clips import queue, requests
from clips.domain import GuildId
from clips.errors import SetupError
from clips.postgres import Pool
from generator.heartbeat import name_of
from tests.library_of import ask_for, enqueued, settle_in
from zoetrope.offered import check_goes_on, is_alive, is_offered

GUILD = GuildId(1)
OWN = 4711


async def tells(pool: Pool, name: str, models: Sequence[str], *troubles: str) -> None:
    await queue.announce(pool, uuid4(), name, models, [], troubles=troubles)


async def test_the_trouble_of_others_ends_no_command_that_has_a_generator_of_its_own(pool: Pool):
    await tells(pool, "elsewhere:1", [], "sketch: The disk is full.")
    assert not await is_alive(pool, "sketch")
    assert not await is_offered(pool, "sketch", [OWN])
    with pytest.raises(SetupError, match=r"sketch: The disk is full\."):
        await is_offered(pool, "sketch")
    await tells(pool, name_of(OWN), [], "other: The key is refused.")
    assert not await is_offered(pool, "sketch", [OWN])
    await tells(pool, name_of(OWN), [], "sketch: There is no GPU.")
    with pytest.raises(SetupError, match=r"sketch: There is no GPU\."):
        await is_offered(pool, "sketch", [OWN])
    await tells(pool, "elsewhere:2", ["sketch"])
    assert await is_alive(pool, "sketch")
    assert await is_offered(pool, "sketch", [OWN])


async def test_no_trouble_ends_a_command_while_a_take_of_its_request_is_rendered(pool: Pool):
    await settle_in(pool, GUILD)
    await tells(pool, "before", ["sketch"])
    request = await enqueued(pool, ask_for(GUILD, 11))
    assert await queue.claim(pool, uuid4(), ["sketch"], [], timedelta(seconds=30)) is not None
    whole = await requests.read(pool, GUILD, request)
    await pool.execute("DELETE FROM generators")
    await tells(pool, name_of(OWN), [], "sketch: There is no GPU.")
    await check_goes_on(pool, "sketch", whole, [OWN])
    with pytest.raises(SetupError):
        await check_goes_on(pool, "sketch", None, [OWN])
