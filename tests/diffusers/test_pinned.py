"""Weights that wait in RAM from which a GPU is quickly fed, as long as the system pins some."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_harness import Collected, Told, job_of, pipe_of
from numpy.typing import NDArray
from torch import nn

from generator.engines.diffusers import placing
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.placing import modules, park
from generator.engines.diffusers.turns import tensors_of

EMPTY_LIKE = torch.empty_like


async def clip_of(engine: DiffusersEngine, photo: Path) -> NDArray[np.uint8]:
    sink = Collected()
    await engine.render(job_of(photo, 7), sink, Told())
    return sink.clip()


@dataclass
class Pinning:
    """RAM in which something can be pinned till an error comes, one a try; a machine without a GPU pins nothing."""

    errors: list[Exception] = field(default_factory=list[Exception])
    made: list[int] = field(default_factory=list[int])
    asked: int = 0

    def empty_like(self, tensor: torch.Tensor, *, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        self.asked += pin_memory
        if pin_memory and self.errors:
            raise self.errors[0]
        made = EMPTY_LIKE(tensor, **options)
        self.made += [made.data_ptr()] * pin_memory
        return made

    def holds(self, part: nn.Module) -> bool:
        return all(tensor.data_ptr() in self.made for tensor in tensors_of(part))


@pytest.fixture
def pinning(monkeypatch: pytest.MonkeyPatch) -> Pinning:
    pinning = Pinning()
    monkeypatch.setattr(torch, "empty_like", pinning.empty_like)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: tensor.data_ptr() in pinning.made)
    return pinning


async def test_what_leaves_the_gpu_is_copied_into_pinned_ram_once(
    engine: DiffusersEngine, photo: Path, pinning: Pinning, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = await clip_of(engine, photo), modules(pipe_of(engine)).values()
    tensors = sum(len(tensors_of(part)) for part in parts)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
    for _ in range(2):
        park(pipe_of(engine))
        assert all(map(pinning.holds, parts))
        assert pinning.asked == tensors, "what is pinned stays"
    monkeypatch.undo()
    assert np.array_equal(await clip_of(engine, photo), whole)


async def test_where_no_more_ram_can_be_pinned_the_weights_wait_in_it_all_the_same(
    engine: DiffusersEngine, photo: Path, pinning: Pinning, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await clip_of(engine, photo)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
        pinning.errors.append(torch.AcceleratorError("CUDA error: out of memory"))
        park(pipe_of(engine))
        assert pinning.asked == 3, "one try a part"
        pinning.errors[0] = torch.AcceleratorError("CUDA error: invalid argument")
        with pytest.raises(torch.AcceleratorError, match="invalid argument"):
            park(pipe_of(engine))
    assert np.array_equal(await clip_of(engine, photo), whole)


def test_what_is_streamed_is_pinned_and_where_it_cannot_all_be_comes_without_a_stream(
    pinning: Pinning, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = list[tuple[object, object, bool]]()

    def stream(part: nn.Module, *, use_stream: bool, non_blocking: bool, **_: object) -> None:
        ways.append((use_stream, non_blocking, pinning.holds(part)))

    monkeypatch.setattr(placing, "apply_group_offloading", stream)
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    for device, errors in ((gpu, []), (gpu, [torch.AcceleratorError("CUDA error: out of memory")]), (cpu, [])):
        pinning.errors[:] = errors
        placing._stream(nn.Linear(8, 8), device, "leaf_level")  # pyright: ignore[reportPrivateUsage] - a GPU's way only
    assert ways == [(True, True, True), (False, False, False), (False, False, False)], "diffusers would pin the rest"
