"""`/my`: what a member waits for, what they made, and what they may still spend. Ephemeral, for their eyes only."""

from datetime import UTC, datetime, timedelta

from discord import app_commands
from discord.utils import format_dt, utcnow

from bot import answers
from bot.application import Interaction, Member, Parts, member_of
from clips import deliveries, guilds, ledger, queue, requests
from clips.deliveries import DeliveryKind, Standing
from clips.domain import RequestStatus, TakeState
from clips.requests import WholeRequest
from courier.buttons import Action, ButtonId
from courier.message import Button, Message, Style
from courier.views import view_of
from courier.wording import count_of_takes, credits_of, member_text, model_of, moment

_LISTED = 10
_PROMPT = 60

my = app_commands.Group(name="my", description="Your requests, your clips, your credits")


@my.command(name="queue", description="What you wait for, with a button to cancel each")
async def my_queue(interaction: Interaction) -> None:
    member, parts = member_of(interaction), interaction.client.parts
    await interaction.response.defer(ephemeral=True)
    unfinished = await requests.unfinished(parts.pool, member.guild_id, member.user_id)
    lines: list[str] = []
    cancels: list[Button] = []
    for request_id in unfinished[:_LISTED]:
        whole = await requests.read(parts.pool, member.guild_id, request_id)
        if whole is None or whole.ended:
            continue
        card = await deliveries.standing(parts.pool, member.guild_id, request_id, DeliveryKind.CARD)
        lines.append(f"{await _waiting(parts, whole)}{_absent(whole, card)}")
        cancels.append(Button(f"Cancel #{request_id}", ButtonId(Action.CANCEL, request_id), Style.DANGER))
    if len(unfinished) > _LISTED:
        lines.append(f"And {len(unfinished) - _LISTED} more after these.")
    content = answers.fitting(lines) or "You wait for nothing. `/animate` brings a photo to life."
    rows = tuple(tuple(cancels[start : start + 5]) for start in range(0, len(cancels), 5))
    await interaction.edit_original_response(content=content, view=view_of(Message(content, rows=rows)))


@my.command(name="clips", description="Your last clips, with links")
async def my_clips(interaction: Interaction) -> None:
    member, parts = member_of(interaction), interaction.client.parts
    await interaction.response.defer(ephemeral=True)
    recent = await requests.recent(parts.pool, member.guild_id, member.user_id, _LISTED)
    found = [await requests.read(parts.pool, member.guild_id, request_id) for request_id in recent]
    lines = [await _made(parts, member, whole) for whole in found if whole is not None and whole.clips]
    content = answers.fitting(lines) or "You have no clips here yet. `/animate` makes the first one."
    await interaction.edit_original_response(content=content)


@my.command(name="budget", description="Your credits, and this server's")
async def my_budget(interaction: Interaction) -> None:
    member, pool = member_of(interaction), interaction.client.parts.pool
    await interaction.response.defer(ephemeral=True)
    rules = await guilds.rules(pool, member.guild_id)
    own = await ledger.balance(pool, member.guild_id, member.user_id)
    server = await ledger.balance(pool, member.guild_id, None)
    await interaction.edit_original_response(
        content=f"You have **{credits_of(own.available)}** left, and {own.held} set aside for what you wait for. Every "
        f"day you are topped up to {own.allowance}, what is set aside included, next "
        f"{format_dt(_midnight(utcnow()), 'R')}.\n"
        f"This server has {server.available} of its {server.allowance} left today. One click may cost up to "
        f"{rules.click_limit}.\nA credit is a second of a graphics card. `lane: relaxed` costs none."
    )


async def _waiting(parts: Parts, whole: WholeRequest) -> str:
    """One request that is under way: what it is, how far, and when it ends."""
    request = whole.request
    done = sum(take.state is TakeState.DONE for take in whole.takes)
    running = [take for take in whole.takes if take.state is TakeState.RUNNING]
    place = await queue.place(parts.pool, request.request_id)
    stopping = bool(running) and all(take.cancel_requested for take in running)
    if stopping:
        how = "being cancelled"
    elif whole.status is RequestStatus.RENDERING:
        how = f"rendering, {done} of {count_of_takes(len(whole.takes))} ready"
    elif any(take.state is TakeState.PARKED for take in whole.takes):
        how = "waiting for a generator that runs this model"
    else:
        how = f"{count_of_takes(place.ahead)} ahead" if place and place.ahead else "next in line"
    if place and place.rest:
        how += ", the generators are paused" if place.rest.until is None else ", in quiet hours"
    if place is None or stopping or (place.rest and place.rest.until is None):
        return f"**#{request.request_id}** {_described(parts, whole)}: {how}"
    ready = moment(utcnow() + timedelta(seconds=max(place.ends_in, 5)))
    return f"**#{request.request_id}** {_described(parts, whole)}: {how}, ready {ready}"


async def _made(parts: Parts, member: Member, whole: WholeRequest) -> str:
    """One request that has clips, with the way to them."""
    request = whole.request
    reply = await deliveries.standing(parts.pool, member.guild_id, request.request_id, DeliveryKind.REPLY)
    link = _absent(whole, reply)
    if reply and reply.message_id:
        link = f" · https://discord.com/channels/{request.guild_id}/{request.channel_id}/{reply.message_id}"
    made = f"{count_of_takes(len(whole.clips))}, {format_dt(request.created_at, 'R')}"
    return f"**#{request.request_id}** {_described(parts, whole)}: {made}{link}"


def _absent(whole: WholeRequest, message: Standing | None) -> str:
    """What keeps a message out of its channel, if anything does."""
    why = message and message.message_id is None and (message.failure or message.trouble)
    return f" · not in <#{whole.request.channel_id}>: {why}" if why else ""


def _described(parts: Parts, whole: WholeRequest) -> str:
    request = whole.request
    prompt = f" “{member_text(request.spec.prompt, _PROMPT)}”" if request.spec.prompt else ""
    return f"{model_of(request, parts.catalog.get(request.spec.model))}{prompt}"


def _midnight(now: datetime) -> datetime:
    """The next midnight of UTC, when credits come back."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
