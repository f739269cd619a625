"""Which GPU is meant, on a machine with several: two of them are made up, as none is here."""

from types import SimpleNamespace

import pytest
import torch

from clips.errors import SetupError
from generator.engines.diffusers import outlook
from generator.engines.diffusers.loading import choose_device


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The GPUs that were made the thread's own, one after another."""
    chosen: list[int] = []

    def empty(_: int, device: torch.device) -> None:
        if device.type == "cuda" and device.index > 1:
            raise torch.AcceleratorError("CUDA error: invalid device ordinal\nAnd much more.")

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(device.index))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=1000 + device.index)
    )
    return chosen


@pytest.mark.parametrize(("wish", "index"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_the_gpu_that_is_meant_becomes_the_threads_own(current: list[int], wish: str, index: int) -> None:
    assert choose_device(wish) == torch.device("cuda", index)
    assert current == [index]
    assert outlook.this_gpu(wish) == (f"card {index}", 1000 + index)


def test_a_cpu_and_a_gpu_that_is_not_there_change_nothing(current: list[int]) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert outlook.this_gpu("cpu") is None
    with pytest.raises(SetupError, match=r"ZOETROPE_DEVICE: cuda:2 cannot be used here \(CUDA error: invalid device"):
        choose_device("cuda:2")
    assert not current
