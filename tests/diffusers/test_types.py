"""The types of numbers that weights are in on a GPU: those in which diffusers shows each pipeline."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Told, pipe_of
from families import ONE_EACH, Loaded
from tiny import Tiny
from torch import nn

from generator.engines.diffusers import pictures
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import family_of

GPU = torch.device("cuda")
AUTHORS = {"hunyuan15": {"pipe": torch.bfloat16}}
"""Of families that do not follow the example beside their pipeline: for HunyuanVideo 1.5 all others have this, those of
its authors and of diffusers' documentation.
"""


def shown(pipeline: type[DiffusionPipeline]) -> Mapping[str, torch.dtype]:
    """The types in the example beside a pipeline, by component; that of all others is named `pipe`."""
    example: str = sys.modules[pipeline.__module__].EXAMPLE_DOC_STRING
    loads = re.findall(r">>> (\w+) = \w+\.from_pretrained\((.*?)\n?\s*(?:\.\.\. )?\)\n", example, re.DOTALL)
    types = {name: re.search(r"torch_dtype=torch\.(\w+)", options) for name, options in loads}
    return {name.replace("pipeline", "pipe"): getattr(torch, found[1]) for name, found in types.items() if found}


@pytest.mark.parametrize("tiny", ONE_EACH, ids=lambda tiny: tiny.entry)
def test_they_are_what_the_pipelines_example_shows(tiny: Tiny, shelf: Path) -> None:
    model = tiny.model(tiny.saved(shelf))
    family = family_of(model)
    example = AUTHORS.get(str(model.family)) or shown(family.pipeline)
    for name in ("vae", "text_encoder", "image_encoder", "transformer", "unet"):
        assert family.dtype_of(name, GPU) is example.get(name, example["pipe"]), name
        assert family.dtype_of(name, torch.device("cpu")) is torch.float32


@pytest.mark.parametrize("tiny", ONE_EACH, ids=lambda tiny: tiny.entry)
async def test_in_them_a_render_is_the_plain_pipelines(
    tiny: Tiny, shelf: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.saved(shelf)
    model = tiny.model(folder)
    family, on = family_of(model), dict[str, torch.dtype]()

    def noted(name: str, _: torch.device) -> torch.dtype:
        on[name] = real(name, GPU)
        return on[name]

    real = family.dtype_of
    monkeypatch.setattr(family, "dtype_of", noted)
    monkeypatch.setattr(pictures, "AT_ONCE", tiny.plan.frames)  # what is decoded together comes together
    one = Loaded(tiny, folder, model, await DiffusersEngine.load(model, "cpu", Told()), photo)
    job = one.job(7, end_photo="end_photo" not in tiny.refuses)
    made = (await one.render(job)).clip()
    for name, part in pipe_of(one.engine).components.items():
        if isinstance(part, nn.Module):
            assert on[name] in {parameter.dtype for parameter in part.parameters()}, name
    await one.engine.close()
    usual: Any = DiffusionPipeline.from_pretrained.__func__

    def typed(kind: type[DiffusionPipeline], folder: Path, **parts: Any) -> DiffusionPipeline:
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                part.to(on[name])
        return usual(kind, folder, dtype={"default": torch.float32, **on}, **parts)

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", classmethod(typed))
    expected = one.expected(job)
    assert np.abs(made / 255 - expected).max() <= 1 / 255, "but for the last rounding"
