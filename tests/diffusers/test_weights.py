"""Where weights come from, and what is said when they do not come. The hub here is one on loopback."""

import shutil
import sys
import time
from errno import EACCES
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_harness import Collected, Report, Told, job_of, pipe_of
from fake_hub import COMMIT, Hub, point_to
from huggingface_hub import constants
from safetensors.torch import save_file

from clips.catalog import Model
from clips.errors import CancelledError, RetryableError, SetupError
from clips.repositories import Lora, Part
from generator.engines.diffusers import hub
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.readiness import check
from zoetrope.weights import examine_files


@pytest.fixture
def hosted(model: Model, hub: Hub) -> Model:
    return model.model_copy(update={"repo": hub.repo})


async def refusal(model: Model, device: str = "cpu") -> str:
    with pytest.raises(SetupError) as caught:
        await DiffusersEngine.load(model, device, Told())
    return str(caught.value)


# ---- from the hub


async def test_weights_are_downloaded_once_with_their_bytes_told(hosted: Model, hub: Hub, photo: Path) -> None:
    told, sink = Told(), Collected()
    engine = await DiffusersEngine.load(hosted, "cpu", told)
    await engine.render(job_of(photo, 7), sink, Told())
    await engine.close()
    assert sorted(hub.served) == sorted(hub.files()), "each file once, and all of them"
    loads = [(done, total) for phase, done, total in told.reports if phase == "load"]
    assert len(loads) == len(told.reports)
    assert [done for done, _ in loads] == sorted(done for done, _ in loads)
    downloaded = sum(len(content) for name, content in hub.files().items() if name != "model_index.json")
    read = sum(len(content) for name, content in hub.files().items() if name.endswith(".safetensors"))
    kilobytes = (downloaded + read) // 1000
    assert loads[-1] == (kilobytes, kilobytes)
    assert {total for _, total in loads} == {kilobytes}, "told once, before anything came"
    hub.served.clear()
    again = await DiffusersEngine.load(hosted, "cpu", Told())
    await again.close()
    assert hub.served == []


async def test_licence_and_what_it_forbids_are_logged_before_the_first_byte(
    hosted: Model, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    strict = hosted.model_copy(update={"licence": "Some Licence 1.0", "forbids": "No clips of dragons."})
    logged: list[int] = []

    def cancel(_: Report) -> bool:
        logged.append(caplog.text.count("from the hub, 0.0 GB. Licence: Some Licence 1.0. No clips of dragons."))
        return True

    with pytest.raises(CancelledError):
        await DiffusersEngine.load(strict, "cpu", Told(cancel_at=cancel))
    assert logged == [1] and hub.served == ["model_index.json"]
    engine = await DiffusersEngine.load(strict, "cpu", Told())
    await engine.close()
    caplog.clear()
    engine = await DiffusersEngine.load(strict, "cpu", Told())
    await engine.close()
    assert "Licence" not in caplog.text, "nothing comes"


async def test_nothing_here_asks_a_hub_by_mistake(model: Model) -> None:
    said = await refusal(model.model_copy(update={"repo": "nobody/nothing"}))
    assert "HF_HUB_OFFLINE forbids" in said


async def test_a_pinned_revision_is_the_one_that_is_asked_for(hosted: Model) -> None:
    engine = await DiffusersEngine.load(hosted.model_copy(update={"revision": COMMIT}), "cpu", Told())
    await engine.close()
    said = await refusal(hosted.model_copy(update={"revision": "never"}))
    assert "has no revision never" in said


async def test_a_cancelled_download_goes_on_where_it_was(hosted: Model, hub: Hub) -> None:
    with pytest.raises(CancelledError):
        await DiffusersEngine.load(hosted, "cpu", Told(cancel_at=lambda report: report[1] > 100))
    before = set(hub.served)
    assert 1 < len(before) < len(hub.files())
    hub.served.clear()
    engine = await DiffusersEngine.load(hosted, "cpu", Told())
    await engine.close()
    assert len(before & set(hub.served)) <= 1, "only the file that was broken off comes again"


async def test_what_is_here_is_enough_without_the_hub(hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await DiffusersEngine.load(hosted, "cpu", Told())
    await engine.close()
    hub.served.clear()
    point_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the hub's own client tries for 23 seconds
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        engine = await DiffusersEngine.load(hosted, "cpu", Told())
        await engine.close()
    assert hub.served == []


async def test_offline_without_weights_is_said(hosted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids" in await refusal(hosted)


async def test_an_unreachable_hub_is_worth_another_attempt(hosted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(RetryableError, match="cannot be reached"):
        await DiffusersEngine.load(hosted, "cpu", Told())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param((403, "GatedRepo"), "behind a licence. Accept it at http", id="gated"),
        pytest.param((404, "RepoNotFound"), "The hub knows no somebody/tiny-wan", id="unknown"),
        pytest.param((404, "EntryNotFound"), "not a diffusers model", id="no index"),
    ],
)
async def test_a_refusal_of_the_hub_says_what_to_do(
    hosted: Model, hub: Hub, answer: tuple[int, str], said: str
) -> None:
    hub.refusals[hub.repo] = answer
    assert said in await refusal(hosted)


async def test_a_full_disk_is_seen_before_the_download(
    hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(hub.folder)._replace(free=2**30 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    said = await refusal(hosted)
    assert "needs 0.0 GB more" in said and "set HF_HOME" in said
    assert hub.served == ["model_index.json"]


async def test_low_rank_weights_come_from_the_hub_too(hosted: Model, hub: Hub, tmp_path: Path) -> None:
    hub.folder = Path(shutil.copytree(hub.folder, tmp_path / "copy"))
    (hub.folder / "loras").mkdir()
    save_file({"transformer.proj_out.lora_B.bias": torch.ones(192)}, hub.folder / "loras" / "one.safetensors")
    lora = Lora(repo=hub.repo, file="loras/one.safetensors", strength=0.5)
    engine = await DiffusersEngine.load(hosted.model_copy(update={"loras": (lora,)}), "cpu", Told())
    merged = pipe_of(engine).transformer.proj_out.bias
    own = await DiffusersEngine.load(hosted, "cpu", Told())
    assert torch.allclose(merged, pipe_of(own).transformer.proj_out.bias + 0.5)
    assert hub.served.count("loras/one.safetensors") == 1
    await engine.close()
    await own.close()


# ---- from a folder


async def test_low_rank_weights_that_do_not_fit_are_said(model: Model, tmp_path: Path) -> None:
    lora = Lora(repo=str(tmp_path), file="one.safetensors")
    wrong = model.model_copy(update={"loras": (lora,)})
    assert "There is no one.safetensors in" in await refusal(wrong)
    for weights in (
        {"transformer.proj_out.lora_B.bias": torch.ones(7)},
        {"transformer.nowhere.lora_B.bias": torch.ones(7)},
        {"transformer.proj_out.lora_B.weight": torch.ones(192, 2)},
        {"transformer.proj_out.weight": torch.ones(192, 24)},
    ):
        save_file(weights, tmp_path / "one.safetensors")
        assert "one.safetensors of" in (said := await refusal(wrong)) and "does not fit into transformer" in said
    elsewhere = lora.model_copy(update={"into": "transformer_2"})
    assert "does not fit into transformer_2" in await refusal(model.model_copy(update={"loras": (elsewhere,)}))


async def test_a_folder_that_is_not_there_is_said(model: Model, tmp_path: Path) -> None:
    for repo in (str(tmp_path / "none"), "~/none/of/these", "./none"):
        assert "There is no model folder" in await refusal(model.model_copy(update={"repo": repo}))
    assert "neither a folder nor a hub id" in await refusal(model.model_copy(update={"repo": "two words"}))


async def test_a_folder_without_a_model_is_said(model: Model, tmp_path: Path) -> None:
    wrong = model.model_copy(update={"repo": str(tmp_path)})
    assert "model_index.json is missing" in await refusal(wrong)
    (tmp_path / "model_index.json").write_text("{")
    assert "cannot be read" in await refusal(wrong)
    (tmp_path / "model_index.json").write_text("[]")
    assert "not the index of a model" in await refusal(wrong)
    (tmp_path / "model_index.json").write_text('{"_class_name": "OtherPipeline"}')
    assert "cannot be loaded as WanImageToVideoPipeline" in await refusal(wrong)


async def test_broken_or_missing_weights_are_said(model: Model, tiny_wan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_wan, folder)
    copy = model.model_copy(update={"repo": str(folder)})
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    nameless = b'{"a": {"data_offsets": [0, 0]}}'
    for cut in (whole[:-100], whole[:100], b"\xff" * 100, len(nameless).to_bytes(8, "little") + nameless):
        file.write_bytes(cut)
        assert "broken or cut off. `zoetrope models pull`" in await refusal(copy)
    file.unlink()
    assert "cannot be loaded as WanImageToVideoPipeline" in await refusal(copy)
    file.write_bytes(whole)
    shutil.rmtree(folder / "tokenizer")
    assert f"{folder} lacks tokenizer, which its model_index.json names." in await refusal(copy)
    with pytest.raises(SetupError, match="lacks tokenizer"):
        check(copy, "cpu")
    assert "lacks tokenizer" in examine_files(copy).fix


async def test_what_nobody_may_read_is_not_called_damaged(
    model: Model, tiny_wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_wan, folder)
    copy = model.model_copy(update={"repo": str(folder)})
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"

    def closed(path: Path) -> None:
        raise PermissionError(EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("generator.engines.diffusers.weights._tensors", closed)
        with pytest.raises(SetupError, match=r"safetensors cannot be read: Permission denied\."):
            check(copy, "cpu")
        with pytest.raises(PermissionError):
            hub.damaged([file], lambda _: None)
    monkeypatch.setattr("os.access", lambda path, _: path != folder / "vae")
    with pytest.raises(SetupError, match=f"No right to read vae in {folder}"):
        check(copy, "cpu")


async def test_lengths_and_sizes_that_the_weights_do_not_render_are_said(model: Model) -> None:
    frames = model.frames.model_copy(update={"offset": 3})
    said = await refusal(model.model_copy(update={"frames": frames}))
    assert "and 4n + 1 frames. Mend the catalogue's entry." in said


async def test_weights_that_could_run_code_are_refused(model: Model, tiny_wan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_wan, folder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").rename(
        folder / "transformer" / "diffusion_pytorch_model.bin"
    )
    assert "cannot be loaded" in await refusal(model.model_copy(update={"repo": str(folder)}))


# ---- from several repositories


async def test_a_part_from_elsewhere_takes_the_place_of_the_models_own(
    hosted: Model, hub: Hub, engine: DiffusersEngine, photo: Path
) -> None:
    own = {"transformer": Part(repo=str(hub.folder), folder="transformer")}
    usual, sink = Collected(), Collected()
    replaced = await DiffusersEngine.load(hosted.model_copy(update={"parts": own}), "cpu", Told())
    assert not [name for name in hub.served if name.startswith("transformer/")], "it would be of no use"
    await replaced.render(job_of(photo, 7), sink, Told())
    await replaced.close()
    await engine.render(job_of(photo, 7), usual, Told())
    assert np.array_equal(sink.clip(), usual.clip())


async def test_a_part_is_downloaded_without_the_rest_of_its_repository(model: Model, hub: Hub) -> None:
    parts = {"transformer": Part(repo=hub.repo, folder="transformer")}
    loaded = await DiffusersEngine.load(model.model_copy(update={"parts": parts}), "cpu", Told())
    await loaded.close()
    assert hub.served and all(name.startswith("transformer/") for name in hub.served)


async def test_a_part_that_is_none_is_said(model: Model, hub: Hub, tmp_path: Path) -> None:
    async def said(part: Part) -> str:
        return await refusal(model.model_copy(update={"parts": {"transformer": part}}))

    assert f"There is no eyes in {tmp_path}" in await said(Part(repo=str(tmp_path), folder="eyes"))
    assert "does not say what it is" in await said(Part(repo=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"_class_name": 7}')
    assert "does not say what it is" in await said(Part(repo=str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read" in await said(Part(repo=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"architectures": ["NoModel"]}')
    assert "cannot be loaded as WanImageToVideoPipeline" in await said(Part(repo=str(tmp_path)))
    hub.refusals[hub.repo] = (404, "RepoNotFound")
    assert "The hub knows no somebody/tiny-wan" in await said(Part(repo=hub.repo, folder="transformer"))


# ---- the rest of a load


async def test_an_unknown_family_is_said(model: Model) -> None:
    for module in ("other", "noise"):
        said = await refusal(model.model_copy(update={"family": module}))
        assert f"There is no adapter for the family “{module}”" in said


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda"])
async def test_a_device_that_is_not_there_is_said(model: Model, device: str) -> None:
    assert f"ZOETROPE_DEVICE: {device} cannot be used here" in await refusal(model, device)


async def test_without_torch_the_sentence_says_what_to_install(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "generator.engines.diffusers.runner")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "sh deploy/setup.sh generator" in await refusal(model)
