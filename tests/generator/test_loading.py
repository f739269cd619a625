"""Which engine a model gets, what is loaded for it and when, and who makes room."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from clips.catalog import Catalog, Model
from clips.errors import SetupError
from generator.engines import loading
from generator.engines.base import Context, Job, NoRoomError, Sink
from generator.engines.loading import Shelf
from generator.engines.sketch import SketchEngine

SKETCH, WAN = (Catalog.load().find(name) for name in ("sketch", "wan-2.2-ti2v-5b"))


async def test_the_sketch_needs_nothing():
    loading.check_installed(SKETCH)
    engine = await loading.load_engine(SKETCH, "cpu", context=None)  # pyright: ignore[reportArgumentType] - it asks nothing
    assert isinstance(engine, SketchEngine)
    await engine.close()


def test_a_diffusers_model_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    loading.check_installed(WAN)
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(SetupError, match=r"wan-2\.2-ti2v-5b runs on diffusers.*sh deploy/setup\.sh generator"):
        loading.check_installed(WAN)
    loading.check_installed(SKETCH)


def test_a_recipe_names_the_software_that_makes_the_seed_mean_something():
    assert loading.versions(WAN).keys() == {"zoetrope", "torch", "diffusers", "transformers"}


def test_torch_is_not_imported_before_a_model_needs_it():
    code = "import sys, generator.__main__, generator.engines.sketch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_family_without_an_adapter_is_refused_at_the_start():
    dream = WAN.model_copy(update={"name": "dream-9000", "family": "dream"})
    with pytest.raises(
        SetupError, match=r"This version cannot run dream-9000 yet: it has nothing for the family dream\."
    ):
        loading.check_installed(dream)


@pytest.mark.parametrize("variable", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_the_hosts_own_settings_of_torch_stay(variable: str):
    environ = {variable: "expandable_segments:True"}
    loading.pin_exactly(environ)
    assert environ == {variable: "expandable_segments:True"}


def test_a_generator_pins_no_more_ram_than_it_asks_for():
    code = """
import os
from generator.__main__ import main
try:
    main()
except SystemExit:
    pass
import torch
print(torch._C._accelerator_getAllocatorSettings())
"""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("PYTORCH")}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=usual | {"ZOETROPE_MODELS": "none"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "there is no model none" in told.stderr
    assert told.stdout.strip() == "pinned_max_round_threshold_mb:1,pinned_max_cached_size_mb:1"


# ---- the shelf


class Indifferent:
    """A context that nobody cancels."""

    def report(self, phase: str, done: int, total: int) -> None: ...

    def raise_if_cancelled(self) -> None: ...


class Weights:
    """An engine that only takes room: on a GPU that holds two of its kind, and in RAM when it is parked."""

    on_gpu: list["Weights"]

    def __init__(self, on_gpu: list["Weights"], others: int = 0) -> None:
        self.on_gpu = on_gpu
        self.others = others
        self.closed = False
        self.can_park = True
        self.streamed = 0
        self._enter()

    @property
    def vram(self) -> int:
        return 10 if self in self.on_gpu else 0

    @property
    def ram(self) -> int:
        return self.streamed + 10 - self.vram

    @property
    def manner(self) -> dict[str, str]:
        return {}

    async def render(self, job: Job, sink: Sink, context: Context) -> None: ...

    async def park(self) -> None:
        self.on_gpu.remove(self)

    async def wake(self) -> None:
        if self not in self.on_gpu:
            self._enter()

    async def close(self) -> None:
        self.closed = True
        if self in self.on_gpu:
            self.on_gpu.remove(self)

    def _enter(self) -> None:
        if len(self.on_gpu) == 2:
            raise NoRoomError(vram=10, ram=0)
        self.on_gpu.append(self)


@pytest.fixture
def ram(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is free of it."""
    left = {"free": 1000}
    monkeypatch.setattr(loading, "free_ram", lambda: left["free"])
    return left


Take = Callable[[str], Awaitable[Weights]]


@pytest.fixture
def shelf() -> tuple[Shelf, list[Weights], Take]:
    """A shelf, what is on the GPU, and how to take a model from it."""
    on_gpu: list[Weights] = []

    async def load(model: Model, device: str, context: Context, others: int) -> Weights:
        if model.name == "large" and others > 5:
            raise NoRoomError(vram=0, ram=100)
        return Weights(on_gpu, others)

    shelf = Shelf("cuda", load=load)

    async def take(name: str) -> Weights:
        engine = await shelf.engine(WAN.model_copy(update={"name": name}), Indifferent())
        assert isinstance(engine, Weights)
        return engine

    return shelf, on_gpu, take


async def test_the_one_unused_for_longest_waits_in_ram(
    shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]
) -> None:
    kept, on_gpu, take = shelf
    first, second = await take("first"), await take("second")
    assert await take("first") is first
    third = await take("third")
    assert on_gpu == [first, third]
    assert kept.loaded == ["second", "first", "third"], "it is loaded all the same"
    assert await take("second") is second
    assert on_gpu == [third, second]
    assert not any(engine.closed for engine in (first, second, third))


async def test_where_ram_is_short_it_goes(shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]) -> None:
    kept, _, take = shelf
    first, _ = await take("first"), await take("second")
    ram["free"] = 9
    await take("third")
    assert first.closed
    assert kept.loaded == ["second", "third"]


async def test_where_ram_holds_one_more_the_one_that_waits_there_for_longest_goes(
    shelf: tuple[Shelf, list[Weights], Take], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, on_gpu, take = shelf
    made: list[Weights] = []
    monkeypatch.setattr(loading, "free_ram", lambda: 10 - sum(one.ram for one in made if not one.closed))
    for name in ("first", "second", "third", "fourth"):
        made += [await take(name)]
    assert [one.closed for one in made] == [True, False, False, False]
    assert on_gpu == made[2:] and kept.loaded == ["second", "third", "fourth"]
    assert [one.others for one in made] == [0, 0, 10, 10], "what others hold in RAM is told to whoever loads"


async def test_nothing_is_dropped_from_ram_that_would_not_make_room_enough(
    shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]
) -> None:
    _, _, take = shelf
    first, second, third = await take("first"), await take("second"), await take("third")
    ram["free"] = -1  # even without what waits there
    await take("fourth")
    assert [one.closed for one in (first, second, third)] == [False, True, False]


async def test_short_of_ram_what_waits_there_goes_before_what_is_at_work(
    shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]
) -> None:
    kept, _, take = shelf
    first, second = await take("first"), await take("second")
    first.streamed = 5
    await second.park()
    await take("large")
    assert (first.closed, second.closed, kept.loaded) == (False, True, ["first", "large"])


async def test_what_cannot_come_back_from_ram_goes(
    shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]
) -> None:
    kept, on_gpu, take = shelf
    first, second = await take("first"), await take("second")
    first.can_park = False
    assert await kept.free() == 20
    assert (first.closed, second.closed, on_gpu, kept.loaded) == (True, False, [], ["second"])


async def test_the_gpu_can_be_freed_for_others(shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]) -> None:
    kept, on_gpu, take = shelf
    await take("first")
    await take("second")
    assert await kept.free() == 20
    assert on_gpu == []
    await take("first")
    assert len(on_gpu) == 1


async def test_a_model_that_fits_nowhere_says_what_it_needs(
    shelf: tuple[Shelf, list[Weights], Take], ram: dict[str, int]
) -> None:
    _, on_gpu, take = shelf
    others = [Weights(on_gpu), Weights(on_gpu)]  # another program's
    with pytest.raises(SetupError, match=r"Wan 2\.2 TI2V 5B does not fit: it needs about 0\.0 GiB of GPU memory\. End"):
        await take("first")
    assert on_gpu == others
