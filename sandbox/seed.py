"""The world as it is on its first day: two servers, four members, one application."""

from sandbox.permissions import EVERYONE, Permission
from sandbox.records import App, Channel, Guild, Member, Role, User
from sandbox.snowflakes import at
from sandbox.store import Store

TOKEN = "sandbox"  # noqa: S105 - the development token, printed in the documentation: it opens nothing but this world

_BORN = at(1_750_000_000)
# One step in an id's time bits, so that neighbouring servers fall on different shards.
_MILLISECOND = 1 << 22

APP = App(_BORN, "Zoetrope", "Brings still photos to life.", owner_id=_BORN + 1)
BOT = User(APP.id, "zoetrope", "Zoetrope", "#e9a23b", bot=True)
MARA = User(_BORN + 1, "mara", "Mara", "#e0567a")
JUNO = User(_BORN + 2, "juno", "Juno", "#2f9e78")
THEO = User(_BORN + 3, "theo", "Theo", "#3d7fd9")
INES = User(_BORN + 4, "ines", "Ines", "#c98a1b")

LANTERN_HOUSE = Guild(_BORN + _MILLISECOND, "Lantern House", owner_id=MARA.id)
NIGHT_SHIFT = Guild(_BORN + 2 * _MILLISECOND, "Night Shift", owner_id=MARA.id)

_MEMBERS = {LANTERN_HOUSE.id: (MARA, JUNO, THEO), NIGHT_SHIFT.id: (MARA, JUNO, INES)}
_CHANNELS = {
    LANTERN_HOUSE.id: (
        ("lobby", "Say hello"),
        ("animations", "Photos that learned to move"),
        ("photos", "Stills, before and after"),
        ("bot-cannot-post", "The bot has no Send Messages here"),
        ("staff-only", "The bot has no View Channel here"),
    ),
    NIGHT_SHIFT.id: (
        ("general", "Whoever is awake"),
        ("clips", "What came out of it"),
        ("bot-cannot-post", "The bot has no Send Messages here"),
    ),
}


def plant(store: Store) -> None:
    """Puts the first day's world into an empty store."""
    with store.transaction():
        store.apps.put(APP)
        for user in (BOT, MARA, JUNO, THEO, INES):
            store.users.put(user)
        for guild in (LANTERN_HOUSE, NIGHT_SHIFT):
            _plant_guild(store, guild)


def _plant_guild(store: Store, guild: Guild) -> None:
    store.guilds.put(guild)
    everyone = Role(guild.id, guild.id, "@everyone", str(int(EVERYONE)), position=0)
    of_bot = Role(guild.id + 1, guild.id, APP.name, str(int(EVERYONE)), color=0xE9A23B, position=1, kind="bot")
    supporters = Role(guild.id + 2, guild.id, "Supporters", "0", color=0x4FA3A5, position=2, kind="booster")
    staff_bits = EVERYONE | Permission.MANAGE_GUILD | Permission.MANAGE_MESSAGES | Permission.MENTION_EVERYONE
    moderators = Role(guild.id + 3, guild.id, "Moderators", str(int(staff_bits)), color=0xE0567A, position=3)
    for role in (everyone, of_bot, supporters, moderators):
        store.roles.put(role)

    store.members.put(Member(guild.id + 10, guild.id, BOT.id, [of_bot.id]))
    held = {MARA.id: [moderators.id], JUNO.id: [supporters.id]}
    for place, user in enumerate(_MEMBERS[guild.id], 11):
        store.members.put(Member(guild.id + place, guild.id, user.id, held.get(user.id, [])))

    closed = {
        "bot-cannot-post": [[of_bot.id, 0, int(Permission.SEND_MESSAGES), 0]],
        "staff-only": [
            [guild.id, 0, int(Permission.VIEW_CHANNEL), 0],
            [moderators.id, int(Permission.VIEW_CHANNEL), 0, 0],
        ],
    }
    for place, (name, topic) in enumerate(_CHANNELS[guild.id]):
        store.channels.put(Channel(guild.id + 100 + place, guild.id, name, topic, place, closed.get(name, [])))
