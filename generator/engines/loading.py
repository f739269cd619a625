"""Which engine a catalogue entry gets, and which ones are loaded. A library comes with the first load that needs it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from threading import Lock
from typing import NoReturn, TypeVar

from clips.catalog import EngineKind, Model, Speed
from clips.errors import (
    CancelledError,
    FatalEngineError,
    LeaseLostError,
    MemberError,
    RetryableError,
    SetupError,
    StoppingError,
    first_line,
)
from clips.machine import free_ram
from generator.engines.base import Context, Engine, NoRoomError, Parkable
from generator.engines.ends import aside
from generator.engines.gates import Gate

log = logging.getLogger(__name__)

_LIBRARIES = {
    EngineKind.SKETCH: ("numpy", "opencv-python-headless"),
    EngineKind.DIFFUSERS: ("torch", "diffusers", "transformers"),
    EngineKind.REPLICATE: (),
    EngineKind.VIDEOS_API: (),
}


_looking = Lock()
"""One check at a time: libraries that import their parts when first asked for them do not expect several threads."""


def check_installed(model: Model) -> None:
    """Raise `SetupError` where this environment lacks what the model needs. Imports no library."""
    check_runnable(model)
    if model.engine is EngineKind.DIFFUSERS and not all(map(find_spec, _LIBRARIES[EngineKind.DIFFUSERS])):
        raise SetupError(
            f"ZOETROPE_MODELS: {model.name} runs on diffusers, which is not installed here. "
            "Install it with: sh deploy/setup.sh generator"
        )


def check_runnable(model: Model) -> None:
    """Raise `SetupError` where no environment would do: this version has no engine for the model."""
    # A family's adapter is the module of its name.
    if model.family and find_spec(f"generator.engines.diffusers.{model.family}") is None:
        raise SetupError(
            f"This version cannot run {model.name} yet: it has nothing for the family {model.family}. "
            "Choose another model."
        )


def versions(model: Model) -> dict[str, str]:
    """The versions of the software that decides what a seed of this model looks like."""
    return {library: version(library) for library in ("zoetrope", *_LIBRARIES[model.engine])}


def check_loadable(model: Model, device: str) -> None:
    """Raise `SetupError` or `RetryableError` where a load on this device would fail; it downloads no weights. Asks the
    hub, and imports the model's libraries: not for the event loop.
    """
    try:
        with _looking:
            from generator.engines.diffusers.readiness import check  # noqa: PLC0415 - only what is used is loaded

            check(model, device)
    except (SetupError, RetryableError):
        raise
    except Exception as error:  # a library's, and about one model: the others go on
        log.exception("%s cannot be examined.", model.name)
        raise SetupError(f"{model.title} cannot be examined ({error}). The log says more.") from error


def gates_of(models: Iterable[Model], device: str) -> dict[str, Gate]:
    """A gate for each model that is loaded from weights, by name: closed until `keep_gates` has had a look."""

    def gate(model: Model) -> Gate:
        return Gate(model.name, lambda: aside(partial(check_loadable, model, device)), unseen=True)

    return {model.name: gate(model) for model in models if model.engine is EngineKind.DIFFUSERS}


async def keep_gates(gates: Iterable[Gate]) -> None:
    """Have the first look at each, and open them again whenever they were closed and can be, for ever."""
    async with asyncio.TaskGroup() as group:
        for gate in gates:
            group.create_task(_keep(gate))


async def _keep(gate: Gate) -> NoReturn:
    await gate.examine()
    await gate.keep()


def pin_exactly(environ: MutableMapping[str, str]) -> None:
    """Have torch, once it is imported, pin as many bytes of RAM as it is asked for, and give them back at once.

    By itself it rounds each tensor up to a power of two, half as much again for a Wan 14B, and keeps what is freed. A
    host who has settings of torch's own decides for that.
    """
    if not environ.keys() & {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}:
        # Both: torch 2.13 hands out blocks that were kept and not rounded without a look at their size.
        environ["PYTORCH_ALLOC_CONF"] = "pinned_max_round_threshold_mb:1,pinned_max_cached_size_mb:1"


Load = Callable[[Model, str, Context, int], Awaitable[Engine]]
"""Loads a model onto a device, told as the context wants; last, the bytes of RAM that the other models hold."""
_Result = TypeVar("_Result")


class Shelf:
    """The loaded engines, the last used last. As many as there is memory for: where one needs room on the GPU, those
    unused for longest wait in RAM; where RAM is short too, or they cannot be moved, they go.

    A load that fails is no take's fault: it closes the model's gate, where it has one, and costs no attempt until that
    went on for a quarter of an hour, though the gate's check passed again and again.
    """

    def __init__(
        self,
        device: str,
        *,
        speed: Speed | None = None,
        load: Load | None = None,
        gates: Mapping[str, Gate] | None = None,
    ) -> None:
        """`device` and `speed` are the settings. `load` stands in for the real loading, in tests of what is around."""
        self.gates: Mapping[str, Gate] = gates or {}
        self._device = device
        self._load = load or partial(load_engine, speed=speed)
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._changing = asyncio.Lock()

    @property
    def loaded(self) -> list[str]:
        """The models in memory, by name."""
        return list(self._engines)

    async def engine(self, model: Model, context: Context) -> Engine:
        """The model's engine, loaded first where it is not. Raises what loading and `context` raise.

        Behind a gate, a load that fails in a way that nobody foresaw raises as any that fails: `SetupError`, or
        `SwitchedOffError`.
        """
        gate = self.gates.get(model.name)
        if gate is None:
            return await self._ready(model, context)
        try:
            engine = await self._ready(model, context)
        except (CancelledError, LeaseLostError, StoppingError, FatalEngineError, MemberError):
            raise
        except (SetupError, RetryableError) as error:
            raise gate.refuse(error) from error
        except Exception as error:  # a library's, or a fault of ours: all takes of the model would meet it
            log.exception("%s cannot be loaded.", model.name)
            raise gate.refuse(
                SetupError(f"{model.title} cannot be loaded ({first_line(error)}). The log says more.")
            ) from error
        gate.prove()
        return engine

    async def _ready(self, model: Model, context: Context) -> Engine:
        async with self._changing:
            if model.name not in self._engines:
                self._engines[model.name] = await self._in_its_room(
                    model, lambda: self._load(model, self._device, context, sum(one.ram for one in self._parkable))
                )
            self._engines.move_to_end(model.name)
            engine = self._engines[model.name]
            if isinstance(engine, Parkable):
                await self._in_its_room(model, engine.wake)
            return engine

    @property
    def _parkable(self) -> list[Parkable]:
        return [engine for engine in self._engines.values() if isinstance(engine, Parkable)]

    async def free(self) -> int:
        """Leave the GPU to others until the next take. Returns the bytes that are free now."""
        async with self._changing:
            held = sum(engine.vram for engine in self._parkable)
            while await self._make_room(but=None, vram=1):
                pass
        return held

    async def _in_its_room(self, model: Model, step: Callable[[], Awaitable[_Result]]) -> _Result:
        """Take the step, with others out of its way where it needs their memory."""
        while True:
            try:
                return await step()
            except NoRoomError as need:
                if not await self._make_room(but=model.name, vram=need.vram):
                    raise SetupError(
                        f"{model.title} does not fit: {need}. End what else runs on this machine, or set `memory` in "
                        "its catalogue entry to load it all the same."
                    ) from need

    async def _make_room(self, but: str | None, vram: int) -> bool:
        """Make one give up what it holds of the memory that is short. False: none holds any.

        On the GPU that is the one unused for longest, which waits in RAM from now on; where RAM is what is short, one
        that waits there goes, before any that is at work.
        """
        others = {
            name: engine
            for name, engine in self._engines.items()
            if name != but and isinstance(engine, Parkable) and (engine.vram or engine.ram)
        }
        waiting = [name for name, engine in others.items() if not engine.vram]
        goes = next((name for name, engine in others.items() if (engine.vram if vram else engine.ram)), None)
        if not vram:
            goes = next(iter(waiting), goes)
        elif goes and others[goes].can_park:
            size, free = others[goes].vram, free_ram()
            if size <= free:
                await others[goes].park()
                return True
            if size <= free + sum(others[name].ram for name in waiting):
                goes = waiting[0]
        if goes is None:
            return False
        del self._engines[goes]
        await others[goes].close()
        return True


async def load_engine(
    model: Model, device: str, context: Context, others: int = 0, *, speed: Speed | None = None
) -> Engine:
    """The engine of a catalogue entry, loaded. `others`: the bytes of RAM that engines loaded before it hold."""
    match model.engine:
        case EngineKind.SKETCH:
            from generator.engines.sketch import SketchEngine  # noqa: PLC0415 - only what is used is loaded

            return SketchEngine()
        case EngineKind.DIFFUSERS:
            from generator.engines.diffusers.engine import DiffusersEngine  # noqa: PLC0415 - only what is used is loaded

            return await DiffusersEngine.load(model, device, context, speed, others)
        case EngineKind.REPLICATE | EngineKind.VIDEOS_API:
            raise SetupError(f"{model.name} runs elsewhere: there is nothing to load.")
