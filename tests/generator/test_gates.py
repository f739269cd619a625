"""A model that does not load costs no take an attempt: its gate closes, the host is told, and it opens by itself."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from threading import Event
from time import monotonic, sleep
from types import SimpleNamespace
from uuid import uuid4

import pytest

from clips import queue
from clips.catalog import Catalog, Model
from clips.checkpoints import Checkpoints
from clips.domain import TakeState
from clips.errors import (
    CancelledError,
    FatalEngineError,
    LeaseLostError,
    MemberError,
    RetryableError,
    SetupError,
    StoppingError,
    SwitchedOffError,
)
from clips.notices import listen
from clips.postgres import Session
from generator import worker
from generator.engines import gates
from generator.engines.base import Context, Engine
from generator.engines.gates import Gate
from generator.engines.loading import Shelf, gates_of, keep_gates
from generator.engines.sketch import SketchEngine
from generator.heartbeat import Heartbeat, Identity
from generator.stations import Station, offer
from generator.stopping import Stopping
from generator.takes import Workshop
from tests.generator.rehearsal import SPEC, Rehearsed, frames, working
from tests.generator.studio import BOUND, Studio
from tests.generator.test_loading import Indifferent

SKETCH = Catalog.load().find("sketch")


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND):
        while not await what():  # noqa: ASYNC110 - a row has no event to wait for
            await asyncio.sleep(0.05)


async def test_a_load_that_fails_gives_the_take_back_until_it_can_be_loaded(
    room: Studio, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker, "_POLL", 0.1)
    loads: list[str] = []
    mended = asyncio.Event()

    async def load(model: Model, _: str, __: Context, ___: int) -> Engine:
        loads.append(model.name)
        if len(loads) == 1:
            raise SetupError("The weights are broken.")
        if len(loads) == 2:
            raise RetryableError("The download was cut.")
        return SketchEngine()

    async def check() -> None:
        if not mended.is_set():
            raise SetupError("The files are away.")

    gate = Gate("sketch", check, first=0.1, unseen=True)
    shelf = Shelf("cpu", load=load, gates={"sketch": gate})
    place = Station({"sketch": SKETCH}, shelf, gates=shelf.gates)
    identity, lease, stopping = Identity(uuid4(), "test", ["sketch"]), timedelta(seconds=6), Stopping(5)
    shop = Workshop(room.pool, room.blobs, place.models, shelf, room.folder, Checkpoints())
    await room.pool.execute("UPDATE generators SET seen_at = seen_at - interval '20 seconds'")  # it is not this one's
    request = await room.ask()

    async def tells(models: list[str], troubles: list[str]) -> bool:
        row = await room.pool.fetchrow("SELECT * FROM generators WHERE name = 'test'")
        return row is not None and (row["models"], row["troubles"]) == (models, troubles)

    async with (
        listen(room.dsn, Session("test"), (queue.READY, queue.CANCELLED)) as notices,
        Heartbeat(room.dsn, identity, lease=lease, stall=timedelta(minutes=1), offer=lambda: offer([place])) as heart,
    ):
        await until(lambda: tells([], []))
        work = asyncio.create_task(
            worker.Worker(shop, heart, identity, notices, stopping, lease=lease, offered=place.offered).run()
        )
        await asyncio.sleep(0.5)
        assert loads == [], "what nobody has looked at yet is not offered, and not claimed either"
        keeping = asyncio.create_task(keep_gates([gate]))
        await until(lambda: tells([], ["sketch: The files are away."]))
        mended.set()
        [take] = await room.ended(request)
        assert (take.state, take.attempts) == (TakeState.DONE, 0)
        assert len(loads) == 3
        await until(lambda: tells(["sketch"], []))
        keeping.cancel()
        stopping.ask()
        await work


async def test_a_load_that_never_succeeds_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gates, "_LONGEST", 0.04)
    broken = SetupError("The weights are broken.")
    mended = False

    async def load(*_: object) -> Engine:
        if mended:
            return Rehearsed(frames)
        raise broken

    async def check() -> None: ...

    gate = Gate("sketch", check, first=0.01)
    shelf = Shelf("cpu", load=load, gates={"sketch": gate})
    keeping = asyncio.create_task(gate.keep())

    async def refusal() -> Exception:
        await gate.opens()
        with pytest.raises((SetupError, SwitchedOffError)) as caught:
            await shelf.engine(SKETCH, Indifferent())
        assert (gate.open, gate.trouble) == (False, "The weights are broken.")
        return caught.value

    kinds = [type(await refusal()) for _ in range(4)]
    assert kinds == [SwitchedOffError, SwitchedOffError, SetupError, SetupError]
    mended = True
    await gate.opens()
    await shelf.engine(SKETCH, Indifferent())
    assert isinstance(gate.refuse(broken), SwitchedOffError), "it was mended: this is a new trouble"
    keeping.cancel()


@pytest.mark.parametrize(
    ("error", "raised", "trouble"),
    [
        (KeyError("vae"), SwitchedOffError, "Sketch cannot be loaded ('vae'). The log says more."),
        (CancelledError(), CancelledError, None),
        (LeaseLostError(), LeaseLostError, None),
        (StoppingError(), StoppingError, None),
        (FatalEngineError("CUDA"), FatalEngineError, None),
        (MemberError("no"), MemberError, None),
    ],
)
async def test_a_load_that_nobody_foresaw_closes_the_gate_but_an_end_does_not(
    error: Exception, raised: type[Exception], trouble: str | None
):
    async def load(*_: object) -> Engine:
        raise error

    async def check() -> None: ...

    gate = Gate("sketch", check)
    with pytest.raises(raised) as caught:
        await Shelf("cpu", load=load, gates={"sketch": gate}).engine(SKETCH, Indifferent())
    assert (type(caught.value), gate.trouble) == (raised, trouble)


async def test_what_is_loaded_behind_a_closed_gate_is_not_claimed(room: Studio, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "_POLL", 0.1)
    asked: list[str] = []

    class Taken(Shelf):
        """One of its models is in RAM and cannot come back to the GPU."""

        @property
        def loaded(self) -> list[str]:
            return ["parked"]

        async def engine(self, model: Model, context: Context) -> Engine:
            asked.append(model.name)
            return Rehearsed(frames)

    async def check() -> None: ...

    gate = Gate("parked", check)
    gate.close("Another program has the GPU.")
    shelf = Taken("cpu", gates={"parked": gate})
    place = Station(
        {name: SKETCH.model_copy(update={"name": name}) for name in ("parked", "other")}, shelf, gates=shelf.gates
    )
    await queue.announce(room.pool, uuid4(), "another", list(place.models), [])
    parked = await room.ask(spec=replace(SPEC, model="parked"))
    other = await room.ask(spec=replace(SPEC, model="other"), user_id=12)
    async with working(room, shelf=shelf, models=dict(place.models), offered=place.offered):
        await room.ended(other)
        assert asked == ["other"]
        await gate.examine()
        await room.ended(parked)


async def test_a_gate_that_opens_wakes_who_waits_for_it(room: Studio):
    woken = 0

    def wake(_: str | None) -> None:
        nonlocal woken
        woken += 1

    async def check() -> None: ...

    gate = Gate("sketch", check, unseen=True)
    place = Station({"sketch": SKETCH}, Shelf("cpu"), gates={"sketch": gate})
    identity, lease = Identity(uuid4(), "test", ["sketch"]), timedelta(seconds=6)

    async def tells(models: list[str]) -> bool:
        return models == await room.pool.fetchval("SELECT models FROM generators WHERE name = 'test'")

    async with (
        listen(room.dsn, Session("test"), (queue.READY,)) as notices,
        Heartbeat(room.dsn, identity, lease=lease, stall=timedelta(minutes=1), offer=lambda: offer([place])),
    ):
        await until(lambda: tells([]))
        await asyncio.sleep(0.2)
        notices.call(queue.READY, wake)
        await gate.examine()
        await until(lambda: tells(["sketch"]))
        async with asyncio.timeout(BOUND):
            while not woken:  # noqa: ASYNC110 - the notice comes after the row
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert woken == 1
        gate.close("The GPU is taken.")
        await until(lambda: tells([]))
        await asyncio.sleep(0.2)
        assert woken == 1, "there is less to do, not more"


async def test_a_check_that_began_before_a_gate_was_closed_does_not_open_it():
    troubles = ["The GPU is taken."]

    async def check() -> None:
        if troubles:
            gate.close(troubles.pop())  # by a load that failed meanwhile

    gate = Gate("sketch", check, first=0.05)
    await gate.examine()
    assert (gate.open, gate.trouble) == (False, "The GPU is taken.")
    keeping, began = asyncio.create_task(gate.keep()), monotonic()
    await gate.opens()
    assert monotonic() - began >= 0.05 and gate.trouble is None
    keeping.cancel()


def test_a_look_at_a_dead_hub_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = Event()
    monkeypatch.setattr("generator.engines.loading.check_loadable", lambda *_: answered.wait(60))
    [gate] = gates_of([Catalog.load().find("wan-2.2-ti2v-5b")], "cpu").values()

    async def generate() -> None:
        looking = asyncio.create_task(keep_gates([gate]))
        await asyncio.sleep(0.1)
        looking.cancel()
        await asyncio.wait([looking])

    began = monotonic()
    asyncio.run(generate())
    assert monotonic() - began < 30
    threads = [thread for thread in threading.enumerate() if thread.name == "aside"]
    assert threads and all(thread.daemon for thread in threads), "nor does the process wait for them"
    answered.set()


async def test_what_a_look_raises_closes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SetupError("no such weights")

    monkeypatch.setattr("generator.engines.loading.check_loadable", fail)
    [gate] = gates_of([Catalog.load().find("wan-2.2-ti2v-5b")], "cpu").values()
    await gate.examine()
    assert (gate.open, gate.trouble) == (False, "no such weights")


async def test_one_look_is_had_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looking: list[str] = []
    most = 0

    def check(model: Model, _: str) -> None:
        nonlocal most
        looking.append(model.name)
        most = max(most, len(looking))
        sleep(0.05)
        looking.remove(model.name)

    monkeypatch.setitem(sys.modules, "generator.engines.diffusers.readiness", SimpleNamespace(check=check))
    models = [Catalog.load().find("wan-2.2-ti2v-5b").model_copy(update={"name": name}) for name in "abc"]
    found = gates_of(models, "cpu").values()
    await asyncio.gather(*(gate.examine() for gate in found))
    assert most == 1 and all(gate.open for gate in found)


async def test_a_library_that_cannot_be_imported_closes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "generator.engines.diffusers.readiness", None)
    [gate] = gates_of([Catalog.load().find("wan-2.2-ti2v-5b")], "cpu").values()
    await gate.examine()
    assert (gate.trouble or "").startswith("Wan 2.2 TI2V 5B cannot be examined (import of generator.engines.")
