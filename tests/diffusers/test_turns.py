"""Who is on the GPU when, where a model's parts take turns there."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Collected, Told, pipe_of
from families import BY_ENTRY, WORDS, Loaded, digest, job_of
from pretend_gpu import pretended
from torch import nn

from clips.catalog import Placement, Speed
from clips.errors import CancelledError
from clips.step_caches import FirstBlock
from generator.engines.base import Job
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.memory import Needs, is_denoiser, is_text_encoder, ladder
from generator.engines.diffusers.placing import modules, place
from generator.engines.diffusers.runner import Runner
from generator.engines.diffusers.speed import Levers, pull
from generator.engines.diffusers.turns import Turns, tensors_of

CPU = torch.device("cpu")
PLANS = {plan.placement: plan for plan in ladder(Needs(1, (1,), 1, 1, 1, 1), quantiser=False)}
Met = set[tuple[str, frozenset[str]]]


def on_gpu(parts: Mapping[str, nn.Module]) -> frozenset[str]:
    """Which of the parts have anything there."""
    return frozenset(name for name, part in parts.items() if any(tensor.is_cuda for tensor in tensors_of(part)))


@contextmanager
def watched(pipe: DiffusionPipeline) -> Generator[Met]:
    """Each part that works, and which of those that are not text encoders have anything on the GPU meanwhile."""
    parts, met = modules(pipe), Met()
    taking_turns = {name: part for name, part in parts.items() if not is_text_encoder(name)}

    def working(name: str) -> None:
        met.add((name, on_gpu(taking_turns)))

    layers = ((name, layer) for name, part in parts.items() for layer in (part, *part.children()))
    hooks = [layer.register_forward_pre_hook(lambda *_, name=name: working(name)) for name, layer in layers]
    yield met
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("placement", [Placement.OFFLOADED, Placement.GROUPED])
@pytest.mark.parametrize("entry", ["wan-2.2-i2v-a14b", "ltx-video", "hunyuan-1.5-480p", "svd-xt"])
def test_one_part_at_a_time_is_on_the_gpu_and_none_between_renders(
    entry: str, placement: Placement, shelf: Path, photo: Path
) -> None:
    tiny = BY_ENTRY[entry]
    model = tiny.model(tiny.saved(shelf)).model_copy(update={"memory": placement})

    def job(*seeds: int) -> Job:
        made = job_of(photo, *seeds, spec=WORDS, plan=tiny.plan)
        return replace(made, inputs={"photo": photo, **dict.fromkeys(tiny.needs, photo)})

    with pretended():
        runner = Runner.load(model, "cuda", Told(), Speed.EXACT)
        pipe = runner._pipe  # pyright: ignore[reportPrivateUsage]
        with watched(pipe) as met:
            for seeds in ((7, 8), (9,)):  # the second job's words are known
                runner.render(job(*seeds), Collected(), Told())
                assert not on_gpu(modules(pipe))
            with pytest.raises(CancelledError):
                runner.render(job(7), Collected(), Told(lambda report: report[:2] == ("step", 1)))
            assert not on_gpu(modules(pipe)), "nor after one that was broken off"
        runner.park()
        assert "maybe_free_model_hooks" not in vars(pipe), "it takes no more turns"
        assert not any("_hf_hook" in vars(part) for part in modules(pipe).values())
        names = {name for name in modules(pipe) if not is_text_encoder(name)}
        runner.close()
    for name, there in met:
        if is_text_encoder(name):
            assert not any(map(is_denoiser, there)), "the words are read before it comes"
        else:
            assert there == {name}
    assert names <= {name for name, _ in met}


@pytest.mark.parametrize("entry", ["wan-2.2-i2v-a14b", "hunyuan-i2v"])
async def test_a_step_cache_and_compiled_blocks_come_to_the_same_in_turns(
    entry: str, shelf: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    tiny, made = BY_ENTRY[entry], list[str]()
    model = tiny.model(tiny.saved(shelf))
    one = Loaded(tiny, shelf, model, await DiffusersEngine.load(model, "cpu", Told()), photo)
    pipe = pipe_of(one.engine)
    for placement in (Placement.WHOLE, Placement.OFFLOADED):
        place(pipe, PLANS[placement], CPU)
        for levers in (Levers(), Levers(cache=FirstBlock(threshold=0.9), compiled=True)):
            pull(pipe, levers, (), 20)
            made += [digest(await one.render(one.job(7))) for _ in range(2)]
    plain, cached = made[0], made[2]
    assert plain != cached, "steps were left out"
    assert made == [plain, plain, cached, cached] * 2
    await one.engine.close()


def test_what_is_lent_comes_back_as_it_was_and_is_not_copied() -> None:
    part = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    part[2].weight = part[0].weight  # one weight of two layers
    kept = [tensor.data_ptr() for tensor in tensors_of(part)]
    with pretended() as gpu, torch.no_grad():
        turns = Turns(gpu)
        turns.take(part, tensors_of(part))
        assert part(torch.ones(1, 2, device=gpu)).is_cuda
        assert part[2].weight is part[0].weight
        assert all(tensor.is_cuda for tensor in tensors_of(part))
        turns.end()
    assert [tensor.data_ptr() for tensor in tensors_of(part)] == kept


def test_a_gpu_that_is_too_full_for_a_part_keeps_none_of_it() -> None:
    part = nn.Linear(2, 2)
    kept = [tensor.data_ptr() for tensor in tensors_of(part)]

    class Huge(torch.Tensor):
        def to(self, *_: object, **__: object) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pretended() as gpu:
        turns = Turns(gpu)
        with pytest.raises(torch.OutOfMemoryError):
            turns.begin([*tensors_of(part), torch.ones(2).as_subclass(Huge)])
        assert on_gpu({"part": part})
        turns.end()
    assert [tensor.data_ptr() for tensor in tensors_of(part)] == kept
