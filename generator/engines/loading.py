"""Which engine a catalogue entry gets, and which ones are loaded. A library comes with the first load that needs it."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from importlib.util import find_spec

from clips.catalog import EngineKind, Model
from clips.errors import SetupError
from generator.engines.base import Context, Engine

_LIBRARIES = {
    EngineKind.SKETCH: ("numpy", "opencv-python-headless"),
    EngineKind.DIFFUSERS: ("torch", "diffusers", "transformers"),
    EngineKind.REPLICATE: (),
    EngineKind.VIDEOS_API: (),
}


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


Load = Callable[[Model, str, Context], Awaitable[Engine]]


class Shelf:
    """The loaded engines, the last used last. Room for `capacity`; the one unused for longest makes room."""

    def __init__(self, device: str, *, capacity: int = 1, load: Load | None = None) -> None:
        """`device` is the setting. `load` stands in for the real loading, in tests of what happens around it."""
        self._device = device
        self._capacity = capacity
        self._load = load or load_engine
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    @property
    def loaded(self) -> list[str]:
        """The models in memory, by name."""
        return list(self._engines)

    async def engine(self, model: Model, context: Context) -> Engine:
        """The model's engine, loaded first where it is not. Raises what loading and `context` raise."""
        if model.name not in self._engines:
            while len(self._engines) >= self._capacity:
                _, oldest = self._engines.popitem(last=False)
                await oldest.close()
            self._engines[model.name] = await self._load(model, self._device, context)
        self._engines.move_to_end(model.name)
        return self._engines[model.name]


async def load_engine(model: Model, device: str, context: Context) -> Engine:
    """The engine of a catalogue entry, loaded."""
    match model.engine:
        case EngineKind.SKETCH:
            from generator.engines.sketch import SketchEngine  # noqa: PLC0415 - only what is used is loaded

            return SketchEngine()
        case EngineKind.DIFFUSERS:
            from generator.engines.diffusers.engine import DiffusersEngine  # noqa: PLC0415 - only what is used is loaded

            return await DiffusersEngine.load(model, device, context)
        case EngineKind.REPLICATE | EngineKind.VIDEOS_API:
            raise SetupError(f"{model.name} runs elsewhere: there is nothing to load.")
