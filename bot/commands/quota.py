"""`/quota`: staff see, set and grant credits. Hidden from those who may not manage the server."""

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.utils import format_dt

from bot import answers
from bot.application import Interaction, member_of
from clips import guilds, ledger, paid
from clips.domain import GuildId, UserId
from clips.errors import MemberError
from clips.ledger import Balance, Entry
from clips.paid import DOLLAR, dollars_of
from clips.postgres import Pool
from courier.wording import credits_of, member_text

_HISTORY = 10
_MOST = 10_000_000
_REASONS = {
    "allowance": "topped up for the day",
    "grant": "granted",
    "revoke": "taken back",
    "hold": "set aside",
    "settle": "paid",
    "release": "given back",
}

quota = app_commands.Group(
    name="quota",
    description="Credits of this server and its members",
    default_permissions=discord.Permissions(manage_guild=True),
)


@quota.command(name="view", description="What a member, or the server, has and spent")
@app_commands.describe(member="Whose credits; left out, the server's")
async def view(interaction: Interaction, member: discord.Member | None = None) -> None:
    staff, pool = member_of(interaction), interaction.client.parts.pool
    await interaction.response.defer(ephemeral=True)
    await guilds.know(pool, staff.guild_id)
    whose = UserId(member.id) if member else None
    balance = await ledger.balance(pool, staff.guild_id, whose)
    entries = await ledger.history(pool, staff.guild_id, whose, _HISTORY)
    dollars = [] if member else await _dollars(pool, staff.guild_id)
    lines = [f"**{_name(member)}** {_standing(balance)}", *dollars, *(_line(entry) for entry in entries)]
    await interaction.edit_original_response(content=answers.fitting(lines))


@quota.command(name="set", description="How many credits come back every day, and which price asks first")
@app_commands.describe(
    daily="Credits a day for each member, or for one of them",
    member="Only for this member",
    server_daily="Credits a day for the whole server",
    confirm_above="Dollars above which a click on a paid model asks first",
)
async def set_daily(
    interaction: Interaction,
    daily: Range[int, 0, _MOST] | None = None,
    member: discord.Member | None = None,
    server_daily: Range[int, 0, _MOST] | None = None,
    confirm_above: Range[float, 0, 100_000] | None = None,
) -> None:
    staff, pool = member_of(interaction), interaction.client.parts.pool
    if daily is None and (member is not None or (server_daily is None and confirm_above is None)):
        raise MemberError(
            "Say how many credits: `daily` for members, `server_daily` for the whole server; or how many dollars: "
            "`confirm_above`."
        )
    await interaction.response.defer(ephemeral=True)
    await guilds.know(pool, staff.guild_id)
    done: list[str] = []
    if daily is not None and member is not None:
        await ledger.set_allowance(pool, staff.guild_id, UserId(member.id), daily)
        done.append(f"{member.mention} gets {credits_of(daily)} a day")
    elif daily is not None:
        await guilds.set_daily_allowance(pool, staff.guild_id, daily)
        done.append(f"each member without a number of their own gets {credits_of(daily)} a day")
    if server_daily is not None:
        await guilds.set_daily_budget(pool, staff.guild_id, server_daily)
        done.append(f"the whole server gets {credits_of(server_daily)} a day")
    sentences: list[str] = []
    if done:
        sentences.append(
            f"From the next daily top-up on, {' and '.join(done)}. That is at midnight UTC, or with the first "
            "use of today where there was none yet. For today, use `/quota grant`."
        )
    if confirm_above is not None:
        price = round(confirm_above * DOLLAR)
        await guilds.set_confirm_above(pool, staff.guild_id, price)
        sentences.append(f"From now on, a click on a paid model asks first above {dollars_of(price)}.")
    await interaction.edit_original_response(content=" ".join(sentences))


@quota.command(name="grant", description="Give credits now, or take some back")
@app_commands.rename(amount="credits")
@app_commands.describe(
    amount="How many; below zero takes back what is still there",
    member="To whom; left out, the server",
    note="Why, for the record",
)
async def grant(
    interaction: Interaction,
    amount: Range[int, -_MOST, _MOST],
    member: discord.Member | None = None,
    note: Range[str, 1, 200] | None = None,
) -> None:
    staff, pool = member_of(interaction), interaction.client.parts.pool
    await interaction.response.defer(ephemeral=True)
    await guilds.know(pool, staff.guild_id)
    whose = UserId(member.id) if member else None
    moved = await ledger.grant(
        pool, staff.guild_id, whose, amount, by=staff.user_id, note=note, interaction_id=interaction.id
    )
    balance = await ledger.balance(pool, staff.guild_id, whose)
    if moved == 0:
        done = "Nothing moved: there was nothing left to take back." if amount < 0 else "Nothing moved."
    else:
        done = f"{credits_of(abs(moved))} {'granted' if moved > 0 else 'taken back'}."
    await interaction.edit_original_response(content=f"{done} **{_name(member)}** {_standing(balance)}")


async def _dollars(pool: Pool, guild_id: GuildId) -> list[str]:
    """A line for each provider that the host pays for this server, and for when a click asks first."""
    approved = await paid.approvals(pool, guild_id)
    if not approved:
        return ["Paid models: none. Only the host of this bot can allow them, with `zoetrope paid approve`."]
    rules = await guilds.rules(pool, guild_id)
    lines = [
        f"Paid models of {one.provider}: {dollars_of(one.spent)} spent this month and {dollars_of(one.reserved)} set "
        f"aside, of {dollars_of(one.monthly_cap)}."
        for one in approved
    ]
    return [*lines, f"A click asks first above {dollars_of(rules.confirm_above)}."]


def _name(member: discord.Member | None) -> str:
    return member_text(member.display_name, 60) if member else "This server"


def _standing(balance: Balance) -> str:
    return (
        f"has {credits_of(balance.available)} left, {balance.held} set aside, {balance.spent} spent in all; "
        f"topped up to {balance.allowance} a day."
    )


def _line(entry: Entry) -> str:
    by = f" by <@{entry.actor_id}>" if entry.actor_id else ""
    note = f" “{member_text(entry.note, 100)}”" if entry.note else ""
    take = f" for take {entry.take_id}" if entry.take_id else ""
    return f"{format_dt(entry.at, 'R')} {credits_of(entry.amount)} {_REASONS[entry.reason]}{take}{by}{note}"
