"""What `zoetrope doctor` tells a host of the account at Replicate and of what went wrong there."""

from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from clips import queue
from clips.settings import Settings
from tests.generator.studio import Studio
from tests.hosted.provider import KEY, Provider
from zoetrope.doctor import Finding, examine


async def findings(dsn: str, folder: Path, **settings: object) -> list[Finding]:
    fields = {"database_url": dsn, "home": folder, "models": "sketch,replicate"} | settings
    return [finding async for finding in examine(Settings(**fields))]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("key", "found", "fix"),
    [
        (None, "there is no key for it", "Set REPLICATE_API_TOKEN"),
        (SecretStr("r8_another"), "does not work", "Replicate refuses the key in REPLICATE_API_TOKEN"),
        (SecretStr(KEY), "the key is taken", ""),
    ],
)
async def test_the_key_is_tried(
    dsn: str, tmp_path: Path, provider: Provider, key: SecretStr | None, found: str, fix: str
):
    told = await findings(dsn, tmp_path, replicate_api_token=key, replicate_url=provider.address)
    [one] = [finding for finding in told if finding.check == "replicate"]
    assert one.found == found and one.fix.startswith(fix) and bool(one.fix) == bool(fix)
    assert "r8_" not in f"{told}"


async def test_troubles_and_what_nobody_can_decide_are_told(room: Studio, tmp_path: Path):
    await queue.announce(room.pool, uuid4(), "den", [], [], troubles=["Replicate's account is out of credit (-)."])
    request = await room.ask()
    take = (await room.read(request)).takes[0].take_id
    claim = await queue.claim(room.pool, uuid4(), ["sketch"], [], queue.PATIENCE)
    assert claim is not None
    await room.pool.execute(
        "INSERT INTO hosted_jobs (take_id, guild_id, provider, body, outcome, ended_at, microdollars) "
        "VALUES ($1, 1, 'replicate', '{}', 'undecided', now(), 5)",
        take,
    )
    told = await findings(room.dsn, tmp_path, models="sketch")
    assert [(one.check, one.fix[:35]) for one in told if one.check in {"generators", "hosted takes"}] == [
        ("generators", "Replicate's account is out of credi"),
        ("hosted takes", "Look for it in the provider's list "),
    ]
