"""An account at a provider beside the queue: many takes at once, a gate for its models, and nothing left behind."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from uuid import uuid4

import pytest
from pydantic import SecretStr
from yarl import URL

from clips import generators, hosted_jobs, paid, queue
from clips.catalog import Catalog
from clips.checkpoints import Checkpoints
from clips.domain import ClipSpec, RequestId, TakeState
from clips.errors import SetupError
from clips.generators import EVERYWHERE, Pause
from clips.notices import listen
from clips.paid import DOLLAR
from clips.postgres import Session
from clips.settings import Settings
from generator.__main__ import wanted_models
from generator.engines.loading import Shelf
from generator.engines.replicate import account as accounts
from generator.engines.replicate.account import ReplicateAccount
from generator.engines.replicate.api import Replicate
from generator.engines.replicate.paying import Pace
from generator.heartbeat import Heartbeat, Identity, Offer
from generator.resting import Place, Resting
from generator.stations import offer, stations
from generator.stopping import Stopping
from generator.takes import Workshop
from generator.worker import Worker
from tests.generator.studio import BOUND, GUILD, Studio
from tests.hosted.provider import KEY, Provider

MODEL = Catalog.load().find("wan-2.7-i2v")
SPEC = ClipSpec(MODEL.name, motion="waves roll in", seconds=2)
MODELS = {MODEL.name: MODEL}
LEASE = timedelta(seconds=10)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PACE", Pace(settles=0.2, first=0.02, most=0.05, again=0.02, notice=0.02))


async def ask(room: Studio, user_id: int = 11, takes: int = 1) -> RequestId:
    await queue.announce(room.pool, uuid4(), "gone", [MODEL.name], [])
    await paid.approve(room.pool, GUILD, "replicate", 100 * DOLLAR)
    plan = MODEL.plan(SPEC, (320, 240))
    return await room.ask(plan, user_id=user_id, spec=SPEC, takes=takes, provider="replicate")


@asynccontextmanager
async def working(
    room: Studio, provider: Provider, *, at_once: int = 8
) -> AsyncGenerator[tuple[ReplicateAccount, Stopping]]:
    """A worker of the account at work in this process; what it offers is announced as it changes."""
    identity, stopping = Identity(uuid4(), "test", [MODEL.name]), Stopping(5)
    async with AsyncExitStack() as stack:
        channels = (queue.READY, queue.CANCELLED, generators.ORDERS)
        notices = await stack.enter_async_context(listen(room.dsn, Session("test"), channels))
        account = await stack.enter_async_context(
            ReplicateAccount.open(provider.address, SecretStr(KEY), room.pool, [MODEL])
        )

        def offered() -> Offer:
            trouble = account.gate.trouble
            return Offer([], [], [trouble]) if trouble else Offer([MODEL.name], [at_once])

        heartbeat = await stack.enter_async_context(
            Heartbeat(room.dsn, identity, lease=LEASE, stall=timedelta(seconds=60), offer=offered)
        )
        shop = Workshop(room.pool, room.blobs, MODELS, account, room.folder, Checkpoints())
        resting = Resting(room.pool, identity.generator_id, Place("attic", "cpu"), None, notices, Shelf("cpu").free)
        await resting.look()
        worker = Worker(
            shop,
            heartbeat,
            identity,
            notices,
            stopping,
            lease=LEASE,
            at_once=at_once,
            gate=account.gate,
            resting=resting,
        )
        work = asyncio.create_task(worker.run())
        try:
            yield account, stopping
        finally:
            stopping.ask()
            stopping.ask()
            await asyncio.wait([work], timeout=20)
            work.result()


async def until(what: Callable[[], object]) -> None:
    deadline = monotonic() + BOUND
    while not what():
        assert monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def test_many_takes_run_at_once_and_never_more_than_the_host_allows(room: Studio, provider: Provider):
    provider.held = True
    requests = [await ask(room, user_id, takes=2) for user_id in (11, 12, 13)]
    async with working(room, provider, at_once=3):
        await until(lambda: len(provider.predictions) == 3)
        await asyncio.sleep(0.3)
        running = await room.pool.fetchval("SELECT count(*) FROM takes WHERE state = 'running'")
        assert (len(provider.predictions), running) == (3, 3)
        # Three at once: a newcomer waits for a third of what is before them.
        await room.pool.execute("DELETE FROM generators WHERE name = 'gone'")
        waits = await queue.waits(room.pool)
        provider.held = False
        takes = [take for request in requests for take in await room.ended(request)]
    assert [take.state for take in takes] == [TakeState.DONE] * 6
    assert provider.paid == 6
    assert 0 < waits[MODEL.name] <= 6 * MODEL.plan(SPEC, (320, 240)).credits / 3
    # A clip of a provider costs what it was quoted, however long it took, and is as large as it came.
    assert {take.charged for take in takes} == {MODEL.plan(SPEC, (320, 240)).credits}
    made = await room.pool.fetch("SELECT width, height, frames, has_sound FROM clips")
    assert {tuple(row.values()) for row in made} == {(96, 64, 24, False)}


async def test_a_refused_key_turns_its_models_off_and_a_good_one_on_again(room: Studio, provider: Provider):
    request = await ask(room)
    provider.key = "r8_another"
    async with working(room, provider) as (account, _):
        [(_, trouble)] = await queue.troubles(room.pool)
        assert trouble.startswith("Replicate refuses the key in REPLICATE_API_TOKEN")
        assert KEY not in trouble
        own = await room.pool.fetchval("SELECT models FROM generators WHERE name = 'test'")
        assert own == []
        assert (await room.read(request)).takes[0].state is TakeState.READY
        provider.key = KEY
        await account.gate.examine()
        [take] = await room.ended(request)
    assert (take.state, take.attempts) == (TakeState.DONE, 0)


async def test_credit_that_runs_out_costs_no_attempt(room: Studio, provider: Provider):
    provider.create.append("402")
    request = await ask(room)
    async with working(room, provider) as (account, _):
        await until(lambda: not account.gate.open)
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
        await account.gate.examine()
        [take] = await room.ended(request)
    assert (take.state, take.attempts, provider.paid) == (TakeState.DONE, 0, 1)


async def test_what_was_asked_for_without_a_price_is_not_paid_for(room: Studio, provider: Provider):
    """The model was the host's own when the member asked, and nobody approved what it costs by now."""
    await queue.announce(room.pool, uuid4(), "gone", [MODEL.name], [])
    request = await room.ask(replace(MODEL.plan(SPEC, (320, 240)), microdollars=0), spec=SPEC)
    async with working(room, provider):
        [take] = await room.ended(request)
    assert (take.state, take.attempts, provider.predictions) == (TakeState.FAILED, 0, {})
    assert take.error is not None and "asked for without a price" in take.error


async def test_a_cancel_reaches_the_provider(room: Studio, provider: Provider):
    provider.held = True
    request = await ask(room)
    async with working(room, provider):
        await until(lambda: provider.predictions)
        await queue.cancel(room.pool, request)
        [take] = await room.ended(request)
    assert take.state is TakeState.CANCELLED
    assert provider.cancelled == list(provider.predictions)
    assert await room.pool.fetchval("SELECT outcome FROM hosted_jobs") == "cancelled"


async def test_what_a_take_left_behind_is_ended(room: Studio, provider: Provider):
    """Cancelled in line, between two attempts: its prediction still runs and nobody waits for it."""
    provider.held = True
    request = await ask(room)
    async with working(room, provider) as (_, stopping):
        await until(lambda: provider.predictions)
        await room.until(request, lambda whole: whole.takes[0].phase == "part")
        stopping.ask()
        stopping.ask()
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
    assert await hosted_jobs.left_behind(room.pool, "replicate") == []
    await queue.cancel(room.pool, request)
    async with ReplicateAccount.open(provider.address, SecretStr(KEY), room.pool, [MODEL]) as account:
        [job] = await hosted_jobs.left_behind(room.pool, "replicate")
        await account.end(job)
        # An intent of which nobody knows what became: looked for, and not there.
        await room.pool.execute("UPDATE hosted_jobs SET outcome = NULL, ended_at = NULL, microdollars = NULL")
        await account.end(replace(job, external_id=None, order=replace(job.order, mark="nowhere")))
    assert provider.cancelled == list(provider.predictions)
    assert set(provider.deleted) == set(provider.files) != set()
    assert await hosted_jobs.left_behind(room.pool, "replicate") == []


async def test_what_is_paid_for_is_fetched_through_a_rest_and_nothing_more_is_begun(room: Studio, provider: Provider):
    provider.held = True
    request = await ask(room)
    async with working(room, provider) as (_, stopping):
        await room.until(request, lambda whole: whole.takes[0].phase == "part")
        stopping.ask()
        stopping.ask()
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
    provider.held = False
    later = await ask(room, user_id=12)
    await room.pool.execute("DELETE FROM generators")
    await generators.pause(room.pool, EVERYWHERE, Pause.NOW)
    async with working(room, provider):
        [take] = await room.ended(request)
    assert (take.state, provider.paid) == (TakeState.DONE, 1)
    assert (await room.read(later)).takes[0].state is TakeState.READY


async def test_what_one_account_was_asked_for_another_leaves_alone(room: Studio, provider: Provider):
    """A second key: its account neither finds the first one's prediction nor asks for another, nor settles it."""
    provider.held = True
    request = await ask(room)
    async with working(room, provider) as (_, stopping):
        await room.until(request, lambda whole: whole.takes[0].phase == "part")
        stopping.ask()
        stopping.ask()
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
    provider.account, provider.held = "theo", False
    async with working(room, provider):
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.BACKOFF)
    await queue.cancel(room.pool, request)
    assert await hosted_jobs.left_behind(room.pool, "replicate", "theo") == []
    [job] = await hosted_jobs.left_behind(room.pool, "replicate", "juno")
    assert (job.order.account, job.outcome, len(provider.predictions)) == ("juno", None, 1)
    assert provider.cancelled == []
    # It may still cost its price.
    [approval] = await paid.approvals(room.pool, GUILD)
    assert (approval.reserved, approval.spent) == (0, MODEL.plan(SPEC, (320, 240)).microdollars)


async def test_one_that_was_left_behind_costs_what_its_machine_does(room: Studio, provider: Provider):
    spec = ClipSpec("pia-hosted", motion="waves roll in", seconds=2)
    pia = Catalog.load().find(spec.model)
    await queue.announce(room.pool, uuid4(), "gone", [pia.name], [])
    await paid.approve(room.pool, GUILD, "replicate", DOLLAR)
    plan = pia.plan(spec, (320, 240))
    request = await room.ask(plan, spec=spec, provider="replicate")
    claim = await queue.claim(room.pool, uuid4(), [pia.name], [], LEASE)
    assert claim is not None and pia.hosted is not None
    async with Replicate.open(URL(provider.address), SecretStr(KEY)) as api:
        prediction = await api.create({"version": f"{pia.hosted.slug}:{pia.hosted.version}", "input": {}})
    order = hosted_jobs.Order(
        "mark", {"version": f"{pia.hosted.slug}:{pia.hosted.version}"}, [], plan.microdollars, "juno"
    )
    await hosted_jobs.intend(room.pool, claim, "replicate", order)
    await hosted_jobs.remember(room.pool, claim.take_id, "replicate", prediction.id)
    await queue.fail(room.pool, claim, retry=False, error="It broke.", fault="-")
    await room.ended(request)
    provider.predictions[prediction.id]["status"] = "processing"
    async with ReplicateAccount.open(provider.address, SecretStr(KEY), room.pool, [pia]) as account:
        [job] = await hosted_jobs.left_behind(room.pool, "replicate", "juno")
        await account.end(job)
    assert await room.pool.fetchval("SELECT microdollars FROM hosted_jobs") == 14_000


async def test_without_a_key_the_host_is_told_which_models_need_it(room: Studio):
    settings = Settings(models="sketch,replicate")
    models = wanted_models(settings, Catalog.load())
    assert len(models) > 10 and "sketch" in models
    async with AsyncExitStack() as stack:
        with pytest.raises(SetupError, match=r"REPLICATE_API_TOKEN is not set, and wan-2\.7-i2v, "):
            await stations(stack, settings, models, room.pool, Stopping(0), Shelf("cpu"))
        [local] = await stations(stack, settings, {"sketch": models["sketch"]}, room.pool, Stopping(0), Shelf("cpu"))
    assert (local.at_once, offer([local])) == (1, Offer(["sketch"], [1], []))


async def test_what_is_paid_for_already_is_given_up_later_than_what_is_not(room: Studio):
    """Leases that are lost, one after another: the third time is the last for a take that nobody pays for."""
    lost: dict[bool, int] = {}
    for known in (False, True):
        request = await ask(room)
        for number in range(1, 10):
            claim = await queue.claim(room.pool, uuid4(), [MODEL.name], [], LEASE)
            assert claim is not None
            if known and number == 1:
                await hosted_jobs.intend(room.pool, claim, "replicate", hosted_jobs.Order("mark", {}, [], 5))
                assert await hosted_jobs.remember(room.pool, claim.take_id, "replicate", "p1")
            ended = await queue.fail(room.pool, claim, retry=True, error="It broke.", fault="-")
            if ended is queue.Ended.FAILED:
                lost[known] = number
                break
            await room.pool.execute("UPDATE takes SET run_at = now() WHERE state = 'backoff'")
            await queue.reap(room.pool, LEASE)
        [take] = await room.ended(request)
        assert (take.state, take.charged) == (TakeState.FAILED, 0)
    assert lost == {False: 3, True: 6}
