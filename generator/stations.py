"""Where a generator's models are rendered: on its own machine one take at a time, at a provider several."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from clips.catalog import EngineKind, Model
from clips.errors import SetupError
from clips.postgres import Pool
from clips.settings import Settings
from generator.companions import beside
from generator.engines.gates import Gate
from generator.engines.loading import Shelf, keep_gates
from generator.engines.replicate.account import ReplicateAccount
from generator.engines.videos_api.cluster import Cluster
from generator.engines.wakes import Calls
from generator.heartbeat import Offer
from generator.stopping import Stopping
from generator.takes import Engines


@dataclass(frozen=True, slots=True)
class Station:
    """Models that are rendered in one place. A closed gate: just now they are not. `gates` are of single models."""

    models: Mapping[str, Model]
    engines: Engines
    at_once: int = 1
    gate: Gate | None = None
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])

    def offered(self) -> list[str]:
        """The models that are rendered just now, by name."""
        if self.gate and not self.gate.open:
            return []
        return [name for name in self.models if name not in self.gates or self.gates[name].open]

    def troubles(self) -> list[str]:
        """Why that is less than there is."""
        own = [self.gate.trouble] if self.gate and self.gate.trouble else []
        return [*own, *(f"{name}: {gate.trouble}" for name, gate in self.gates.items() if gate.trouble)]


async def stations(
    stack: AsyncExitStack,
    settings: Settings,
    models: Mapping[str, Model],
    pool: Pool,
    stopping: Stopping,
    shelf: Shelf,
    calls: Calls | None = None,
) -> list[Station]:
    """The stations that these models need, for as long as the stack stands; `shelf` is for those that run here.

    Raises `SetupError`.
    """
    found: list[Station] = []
    if local := _of(models, EngineKind.SKETCH, EngineKind.DIFFUSERS):
        if shelf.gates:
            await stack.enter_async_context(beside(stopping, keep_gates(shelf.gates.values())))
        found.append(Station(local, shelf, gates=shelf.gates))
    if hosted := _of(models, EngineKind.REPLICATE):
        key = settings.replicate_api_token
        if not key:
            raise SetupError(
                f"REPLICATE_API_TOKEN is not set, and {', '.join(hosted)} runs there. Set it, or leave that out of "
                "ZOETROPE_MODELS."
            )
        account = await stack.enter_async_context(
            ReplicateAccount.open(settings.replicate_url, key, pool, hosted.values(), calls)
        )
        await stack.enter_async_context(beside(stopping, account.keep()))
        found.append(Station(hosted, account, settings.hosted_at_once, account.gate))
    for name, model in models.items():
        if model.server is not None:
            cluster = await stack.enter_async_context(Cluster.open(model, pool))
            await stack.enter_async_context(beside(stopping, cluster.keep()))
            found.append(Station({name: model}, cluster, model.server.at_once, cluster.gate))
    return found


def offer(places: Sequence[Station]) -> Offer:
    """What can be rendered just now, and why the rest cannot."""
    models: list[str] = []
    rooms: list[int] = []
    troubles: list[str] = []
    for place in places:
        models += (offered := place.offered())
        rooms += [place.at_once] * len(offered)
        troubles += place.troubles()
    return Offer(models, rooms, troubles)


def _of(models: Mapping[str, Model], *kinds: EngineKind) -> dict[str, Model]:
    return {name: model for name, model in models.items() if model.engine in kinds}
