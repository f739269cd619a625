"""Commands are written to Discord when they have changed, and only then."""

from typing import Any

from bot.sync import same_commands
from tests.bot.stage import Stage

Json = dict[str, Any]

DAILY: Json = {"type": 4, "name": "daily", "description": "How many", "min_value": 0}
OURS: Json = {
    "name": "quota",
    "type": 1,
    "description": "Credits",
    "nsfw": False,
    "dm_permission": True,
    "default_member_permissions": 32,
    "contexts": [0],
    "options": [DAILY | {"required": False}],
}
THEIRS: Json = OURS | {
    "id": "5",
    "application_id": "6",
    "version": "7",
    "default_member_permissions": "32",
    "name_localizations": None,
    "options": [DAILY],
}


def test_what_discord_adds_is_no_change():
    assert same_commands([OURS], [THEIRS])


def test_every_real_change_is_seen():
    assert not same_commands([OURS], [])
    assert not same_commands([OURS], [THEIRS, THEIRS | {"name": "more"}])
    changes: list[Json] = [
        {"description": "Other"},
        {"default_member_permissions": "8"},
        {"contexts": [0, 1]},
        {"options": []},
        {"options": [DAILY | {"max_value": 9}]},
        {"options": [DAILY | {"min_value": 1}]},
        {"nsfw": True},
    ]
    for change in changes:
        assert not same_commands([OURS], [THEIRS | change]), change


async def test_a_second_start_writes_nothing(empty: Stage):
    def writes() -> int:
        return sum(one.method == "PUT" and "commands" in one.template for one in empty.box.record.exchanges)

    async with empty.playing():
        assert writes() == 1
    async with empty.playing():
        assert writes() == 1
