"""A load tells its bytes as they come and as they are read, and can be ended at any of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Told
from fake_hub import Hub
from hf_xet import XetSession  # pyright: ignore[reportAttributeAccessIssue] - it is written in Rust
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import UMT5EncoderModel

from clips.catalog import Model
from clips.errors import CancelledError
from clips.repositories import Lora
from generator.engines.diffusers import placing
from generator.engines.diffusers.download import fetch, listed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.load_progress import LoadProgress
from generator.engines.diffusers.lora import LowRank
from generator.engines.diffusers.memory import MemoryPlan
from generator.engines.diffusers.reading import told
from generator.engines.diffusers.weights import weight_files

_POSTGRES_INTEGER = 2**31


class EndedError(Exception):
    """What the progress raises here."""


@pytest.mark.parametrize("component", ["text_encoder", "transformer", "vae"])
def test_a_component_is_told_tensor_by_tensor_and_can_be_ended_at_each(tiny_wan: Path, component: str) -> None:
    kinds = {"text_encoder": UMT5EncoderModel, "transformer": WanTransformer3DModel, "vae": AutoencoderKLWan}
    folder, counts = tiny_wan / component, list[int]()
    with told(folder, counts.append):
        whole = kinds[component].from_pretrained(folder)
    assert sum(counts) == sum(file.stat().st_size for file in weight_files(folder))
    [file] = weight_files(folder)
    assert len([count for count in counts if count]) >= len(safetensors.torch.load_file(file)) > 10
    assert max(counts) < sum(counts) / 2

    def end(count: int) -> None:
        ended.append(count)
        if len(ended) == 7:
            raise EndedError

    ended: list[int] = []
    with pytest.raises(EndedError), told(folder, end):
        kinds[component].from_pretrained(folder)
    assert len(ended) == 7, "nothing went on"
    again = kinds[component].from_pretrained(folder)
    assert len(ended) == 7, "and nobody looks on any more"
    pairs = zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


async def test_a_load_ends_between_two_loras(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"transformer.proj_out.lora_B.bias": torch.ones(192)}, tmp_path / "one.safetensors")
    loras = (Lora(repo=str(tmp_path), file="one.safetensors"),) * 3
    merged: list[str] = []
    monkeypatch.setattr(LowRank, "merge", lambda _, name, __: merged.append(name))
    with pytest.raises(CancelledError):
        await DiffusersEngine.load(
            model.model_copy(update={"loras": loras}), "cpu", Told(cancel_at=lambda _: len(merged) == 2)
        )
    assert merged == ["transformer"] * 2


async def test_a_load_ends_between_two_components_that_are_placed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []

    def place(pipe: DiffusionPipeline, plan: MemoryPlan, device: torch.device, before_each: Callable[[], None]) -> None:
        def before() -> None:
            before_each()
            placed.append("another")

        placing.place(pipe, plan, device, before)

    monkeypatch.setattr("generator.engines.diffusers.loading.place", place)
    engine = await DiffusersEngine.load(model, "cpu", Told())
    await engine.close()
    assert len(placed) == 2 * 3, "each is looked at, then moved"
    placed.clear()
    with pytest.raises(CancelledError):
        await DiffusersEngine.load(model, "cpu", Told(cancel_at=lambda _: len(placed) == 4))
    assert len(placed) == 4


def test_a_load_is_told_once_in_a_unit_that_the_queue_has_room_for() -> None:
    context = Told()
    progress = LoadProgress(context)
    advance = progress.fetching(60 * 10**9, 70 * 10**9)
    advance(60 * 10**9)
    advance = progress.reading(70 * 10**9)
    advance(30 * 10**9)
    assert context.reports == [("load", 60 * 10**6, 130 * 10**6), ("load", 90 * 10**6, 130 * 10**6)]
    assert all(count < _POSTGRES_INTEGER for _, *counts in context.reports for count in counts)
    progress.reading(70 * 10**9)(10 * 10**9)
    assert context.reports[-1] == ("load", 70 * 10**6, 130 * 10**6), "a leaner plan reads all of it again"


def test_a_download_through_xet_ends_at_the_next_bytes(hub: Hub, tmp_path: Path) -> None:
    hub.folder, hub.storage = tmp_path / "hub", tmp_path / "storage"
    hub.folder.mkdir()
    hub.storage.mkdir()
    file = hub.folder / "large.safetensors"
    file.write_bytes(os.urandom(64 * 1024**2))
    with XetSession().new_upload_commit(endpoint=f"local://{hub.storage}") as commit:
        stored = commit.start_upload_file(str(file))
    hub.xet[file.name] = stored.result().xet_info.hash
    files = listed(hub.repo, None, [file.name])
    counts: list[int] = []

    def end(count: int) -> None:
        counts.append(count)
        if len(counts) > 1:
            raise EndedError

    with pytest.raises(EndedError):
        fetch(hub.repo, files, end)
    assert len(counts) == 2 and sum(counts) < file.stat().st_size
    assert not list(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*/*"))
    counts.clear()
    fetch(hub.repo, files, counts.append)
    assert sum(counts) == file.stat().st_size
    assert len(list(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*/*"))) == 1
    assert hub.served == [], "nothing of it came through plain HTTP"
