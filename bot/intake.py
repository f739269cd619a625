"""The one way from a wish to a request: for commands, the menu, buttons and modals, and after a restart.

An intake is written down before anything slow begins. Whatever ends this process leaves it open, and the next one takes
it up again; the interaction's id makes sure that it leads to one request at most.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

import discord

from bot import answers, needs, offers, plans
from bot.answering import Answer
from bot.download import Downloads
from bot.materials import Gatherer
from clips import guilds, intakes, ledger, paid, queue
from clips.blobs import BlobStore
from clips.catalog import Accepts, Catalog, Model
from clips.checkpoints import Checkpoint, Checkpoints
from clips.domain import ChannelId, GuildId, Lane, RequestId, UserId
from clips.errors import MemberError
from clips.intakes import Wish
from clips.motion_video import VideoReader
from clips.paid import Approval
from clips.photo_process import PhotoReader
from clips.postgres import Connection, Pool, retrying
from clips.refusals import check_cap, check_paid
from clips.requests import Ask

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where an intake reads and writes."""

    pool: Pool
    blobs: BlobStore
    catalog: Catalog
    photos: PhotoReader
    videos: VideoReader
    downloads: Downloads
    checkpoints: Checkpoints


class _EndedElsewhereError(Exception):
    """Another process has refused this intake, and told the member so."""

    def __init__(self, refusal: str) -> None:
        super().__init__()
        self.refusal = refusal


class Intake:
    """Takes wishes in. One a process."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._pool = stores.pool
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closing = False
        self._gatherer = Gatherer(stores.pool, stores.blobs, stores.downloads, stores.photos, stores.videos)

    async def take(self, interaction: discord.Interaction[discord.Client], wish: Wish) -> None:
        """Acknowledge an interaction, and answer it in the end: a request, or the reason why there is none.

        The first answer must not have been given yet. The member's roles come from the interaction.
        """
        await interaction.response.defer(ephemeral=True, thinking=True)
        if interaction.guild_id is None or interaction.channel_id is None:
            await interaction.edit_original_response(content="Zoetrope makes clips in a server's channels. Ask in one.")
            return
        roles = (
            tuple(role.id for role in interaction.user.roles) if isinstance(interaction.user, discord.Member) else ()
        )
        opened = await intakes.open_intake(
            self._pool,
            interaction_id=interaction.id,
            guild_id=GuildId(interaction.guild_id),
            channel_id=ChannelId(interaction.channel_id),
            user_id=UserId(interaction.user.id),
            token=interaction.token,
            wish=replace(wish, roles=roles),
        )
        if opened is None:
            return  # delivered twice: the first one answers
        self._stores.checkpoints.reached(Checkpoint.INTAKE_STORED)
        missing = _missing(interaction.app_permissions, in_thread=isinstance(interaction.channel, discord.Thread))
        await self._run(interaction.client, opened, missing)

    async def resume(self, client: discord.Client, before: datetime) -> None:
        """Take up what was left open before then: by processes that are gone, or while the database was away."""
        left = [one for one in await intakes.unfinished(self._pool, before) if one.interaction_id not in self._running]
        for opened in left:
            _log.info("taking up intake %d again", opened.interaction_id)
        await asyncio.gather(*(self._run(client, opened, _missing_now(client, opened.channel_id)) for opened in left))

    async def close(self, bound: timedelta) -> None:
        """Let what runs come to its end. What does not within the bound, or comes now, is for the next process."""
        self._closing = True
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=bound.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, client: discord.Client, opened: intakes.Intake, missing: Sequence[str]) -> None:
        """Settle an intake in a task of its own, which `close` knows."""
        if self._closing:
            return
        task = asyncio.create_task(self._settle(client, opened, missing), name=f"intake {opened.interaction_id}")
        self._running[opened.interaction_id] = task
        task.add_done_callback(lambda _: self._running.pop(opened.interaction_id, None))
        await asyncio.shield(task)

    async def _settle(self, client: discord.Client, opened: intakes.Intake, missing: Sequence[str]) -> None:
        """Accept or refuse, and tell the member. `missing`: the permissions that the bot lacks in the channel."""
        refusal: str | None = None
        view: discord.ui.View | None = None
        answer = Answer(client, opened)
        try:
            text = await self._accept_or_offer(opened, missing, answer)
        except _EndedElsewhereError as ended:
            text, view = ended.refusal, discord.utils.MISSING
        except MemberError as error:
            text = refusal = answers.refused(error)
            view = offers.view_of(error) if isinstance(error, offers.OfferError) else None
        except Exception:  # noqa: BLE001 - whatever it is, the member hears of it and the log has it
            trace = uuid4().hex[:12]
            _log.exception("intake %d failed, trace %s", opened.interaction_id, trace)
            text = refusal = answers.apology(trace)
            # Written down before it is said: where even that fails the database is away, and `resume` will go on.
            if not await self._refuse(opened, refusal):
                return
        if not await answer.say(text, view):
            return
        await answer.insist(text, view)
        # Said before it is written down: after a crash in between it is said once more in the same place.
        if refusal:
            await self._refuse(opened, refusal)

    async def _refuse(self, opened: intakes.Intake, refusal: str) -> bool:
        try:
            await intakes.refuse(self._pool, opened.interaction_id, refusal)
        except Exception:  # noqa: BLE001 - the database is away, in one of many ways
            _log.exception("intake %d stays open", opened.interaction_id)
            return False
        return True

    async def _accept_or_offer(self, opened: intakes.Intake, missing: Sequence[str], answer: Answer) -> str:
        """As `_accept`; what it offers instead is kept."""
        try:
            return await self._accept(opened, missing, answer)
        except offers.OfferError as offer:
            if offer.choices:
                offer.draft_id = await intakes.save_draft(self._pool, opened.guild_id, opened.user_id, offer.wish)
            raise

    async def _accept(self, opened: intakes.Intake, missing: Sequence[str], answer: Answer) -> str:
        """Check, plan, tell, store, enqueue. Returns the last word. Raises `MemberError`."""
        guild_id = opened.guild_id
        rules = await guilds.rules(self._pool, guild_id)
        if block := await guilds.block(self._pool, guild_id, opened.user_id):
            reason = block.reason.rstrip(".")
            raise MemberError(
                f"The staff of this server have stopped your requests: {reason}. Please talk to them.",
                until=block.until,
            )
        if missing:
            raise MemberError(answers.cannot_post(missing))
        model, approved = await self._choose(opened, rules)
        wish, left_out = needs.fitted(opened.wish, model)
        if wish.model is None and Accepts.PHOTO in needs.missing(wish, model):
            raise MemberError("There is no photo to animate. Attach one and ask again.")
        offers.check_needs(needs.missing(wish, model), model, replace(opened.wish, model=model.name))
        spec = plans.specify(wish, model)

        if model.length_from is None:
            # Neither length nor price is the photo's: both are told while it is fetched.
            answer.foretell(answers.foretold(spec, model, wish, rules))
        materials = await self._gatherer.gather(opened, wish)
        if model.length_from is not None:
            spec = plans.as_long_as(spec, model, materials.motion_video)
            answer.foretell(answers.foretold(spec, model, materials.kept(wish), rules))
        plan = model.plan(spec, materials.shape)
        ask = Ask(
            interaction_id=opened.interaction_id,
            guild_id=guild_id,
            channel_id=opened.channel_id,
            user_id=opened.user_id,
            kind=wish.kind,
            lane=wish.lane,
            spec=spec,
            plan=plan,
            photo=materials.photo.sha256 if materials.photo else None,
            end_photo=materials.end_photo.sha256 if materials.end_photo else None,
            seed=secrets.randbelow(2**32) if wish.seed is None else wish.seed,
            takes=plans.count_takes(wish, plan, rules),
            variation=wish.variation,
            spoiler=wish.spoiler,
            parent_id=wish.parent_id,
            parent_take=wish.parent_take,
            provider=model.provider,
            inputs=materials.inputs,
        )
        # A yes to what is asked back is one to the real length.
        seconds = wish.seconds if wish.seconds is None or model.length_from else plan.seconds
        kept = replace(materials.kept(wish), model=model.name, seconds=seconds)
        if ask.provider is not None:
            check_cap(ask, approved[ask.provider])
            offers.check_price(ask, model, rules, kept, answers.otherwise(ask, wish, model, left_out))
        offers.check_length(ask, model, kept, wish.seconds, left_out)
        await answer.foretold()
        place, left = await self._enqueue(ask, rules, kept)
        self._stores.checkpoints.reached(Checkpoint.HELD)
        return answers.accepted(
            answers.Accepted(
                ask=ask,
                wish=wish,
                model=model,
                place=place,
                left=left,
                left_out=left_out,
                rules=rules,
                now=discord.utils.utcnow(),
            )
        )

    async def _choose(self, opened: intakes.Intake, rules: guilds.Rules) -> tuple[Model, Mapping[str, Approval]]:
        """The model, and what is approved for the server by provider."""
        alive = await queue.alive_models(self._pool)
        approved = {one.provider: one for one in await paid.approvals(self._pool, opened.guild_id)}
        model = plans.choose_model(opened.wish, self._stores.catalog, alive, rules.default_model, approved.keys())
        check_paid(model, opened.wish.lane, opened.guild_id, approved.keys())
        return model, approved

    async def _enqueue(self, ask: Ask, rules: guilds.Rules, wish: Wish) -> tuple[queue.Place | None, int]:
        """The request with all that hangs on it, or nothing, in one transaction: its place and the credits left.

        All that the answer tells is read in there: nothing may fail between the commit and the answer.
        """
        weight = await guilds.role_weight(self._pool, ask.guild_id, wish.roles)

        async def work(conn: Connection) -> tuple[queue.Place | None, int]:
            request_id, new = await queue.enqueue(conn, ask, role_weight=weight)
            place = await queue.place(conn, request_id)
            if new and place and ask.lane is Lane.FAST:
                offers.check_wait(ask, place, rules, wish)
            if not await intakes.accept(conn, ask.interaction_id or 0, RequestId(request_id)) and new:
                raise _EndedElsewhereError(await intakes.refusal(conn, ask.interaction_id or 0) or "")
            if new and wish.confirmed_draft and not await intakes.use_draft(conn, wish.confirmed_draft, request_id):
                raise MemberError(
                    "You said yes to that before: see `/my queue` and `/my clips`. Ask anew to have it made again."
                )
            balance = await ledger.balance_within(conn, ask.guild_id, ask.user_id)
            return place, balance.available

        return await retrying(self._pool, work)


def _missing(permissions: discord.Permissions, *, in_thread: bool) -> list[str]:
    """The permissions, as Discord names them, that the bot needs for a clip and lacks."""
    needed = {
        "View Channel": permissions.view_channel,
        "Send Messages in Threads" if in_thread else "Send Messages": (
            permissions.send_messages_in_threads if in_thread else permissions.send_messages
        ),
        "Attach Files": permissions.attach_files,
        # To find a message of its own that a crash left unmarked, and to answer to one.
        "Read Message History": permissions.read_message_history,
    }
    return [name for name, granted in needed.items() if not granted]


def _missing_now(client: discord.Client, channel_id: ChannelId) -> list[str]:
    """The same without an interaction, from what the gateway told. A channel that it does not know is not judged."""
    channel = client.get_channel(channel_id)
    if not isinstance(channel, discord.abc.GuildChannel | discord.Thread):
        return []
    return _missing(channel.permissions_for(channel.guild.me), in_thread=isinstance(channel, discord.Thread))
