"""`zoetrope models` against a hub on loopback: what is told, what is asked, what lies on the disk afterwards."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from fake_hub import Hub, mark, point_to
from huggingface_hub import constants
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from clips.catalog import Catalog
from clips.errors import RetryableError, SetupError
from clips.repositories import Lora
from clips.settings import Settings
from zoetrope.findings import Finding
from zoetrope.models import app
from zoetrope.weights import examine_files, terms_of_fetching

ENTRY = """
[models.{name}]
title = "Tiny"
summary = "for tests"
engine = "diffusers"
family = "wan"
repo = "{repo}"
licence = "Some Licence 1.0"
forbids = "No clips of dragons."
goals = []
fps = 24
multiple = 32
frames = {{ offset = 1, step = 4, min = 5, max = 121 }}
sizes = {{ 720p = [1280, 704] }}
default_size = "720p"
price = {{ 720p = 1.0 }}
accepts = ["motion"]
gpu = {{ least = 8, full = 24 }}
"""


@pytest.fixture(autouse=True)
def catalog(hub: Hub, tiny_wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = ENTRY.format(name="tiny", repo=hub.repo) + ENTRY.format(name="twin", repo=hub.repo)
    (tmp_path / "own.toml").write_text(entries + ENTRY.format(name="own", repo=tiny_wan))
    monkeypatch.setenv("ZOETROPE_CATALOG", str(tmp_path / "own.toml"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})


VAE = ("config.json", "diffusion_pytorch_model.safetensors")


def mark_of(hub: Hub, name: str) -> str:
    return mark(name, hub.files()[name])


def blobs(hub: Hub) -> list[Path]:
    return sorted(Path(constants.HF_HUB_CACHE).glob(f"models--{hub.repo.replace('/', '--')}/blobs/*"))


def test_a_pull_tells_the_licence_fetches_and_checks(hub: Hub) -> None:
    with pytest.raises(SetupError, match=r"Fetch it\? Nobody can be asked here; say --yes\."):
        run("pull", "tiny")
    assert hub.served == ["model_index.json"], "only what names the files"
    said = run("pull", "tiny", "--yes").output
    size = sum(map(len, hub.files().values())) / 1e6
    assert f"Tiny: {size:.1f} MB on the disk" in said
    assert "Licence: Some Licence 1.0. No clips of dragons." in said
    assert "A GPU of 24 GiB renders it at full speed, one of 8 GiB more slowly." in said
    assert said.endswith("All of it is here and whole.\n")
    assert sorted(hub.served) == sorted(hub.files())
    listed = run("list").output
    assert f"{size:.1f} MB" in next(line for line in listed.splitlines() if line.startswith("tiny"))


def test_without_a_terminal_a_pull_tells_how_far_it_is_now_and_then(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fetching:" not in run("pull", "tiny", "--yes").output, "it took no half minute"
    run("remove", "tiny", "twin", "--yes")
    monkeypatch.setattr("zoetrope.models._LINE_EVERY", 0.0)
    lines = run("pull", "tiny", "--yes").output.splitlines()
    told = [line for line in lines if line.startswith("fetching: ")]
    size = sum(len(content) for name, content in hub.files().items() if name != "model_index.json") // 1000
    assert len(told) >= len(hub.files()) and told[-1] == f"fetching: {size / 1000:.0f} of {size / 1000:.0f} MB"
    assert any(line.startswith("checking: ") for line in lines)


def test_a_first_render_says_what_is_fetched_and_under_which_terms(hub: Hub) -> None:
    models = Catalog.load(Settings.load().catalog)
    terms = "Licence: Some Licence 1.0. No clips of dragons."
    assert terms_of_fetching(models.find("tiny")) == f"The files of Tiny are fetched from the hub first. {terms}"
    assert terms_of_fetching(models.find("own")) is None
    assert terms_of_fetching(models.find("sketch")) is None
    run("pull", "tiny", "--yes")
    assert terms_of_fetching(models.find("tiny")) is None
    assert hub.served


def test_what_is_damaged_is_fetched_again_and_only_that(hub: Hub) -> None:
    run("pull", "tiny", "--yes")
    hub.served.clear()
    largest = max(blobs(hub), key=lambda blob: blob.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"!")
    said = run("pull", "tiny").output
    assert ".safetensors is damaged.\nWhat was damaged is fetched again.\nAll of it is here and whole." in said
    assert len(hub.served) == 1 and hub.served[0].endswith(".safetensors")


def test_a_hub_that_sends_damaged_files_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_hub.mark", lambda name, content: "f" * 64)
    with pytest.raises(SetupError, match="Files of tiny come damaged from the hub"):
        run("pull", "tiny", "--yes")


def test_a_check_reads_no_weights(hub: Hub) -> None:
    said = run("check", "tiny", "--vram", "24", "--ram", "64").output
    configs = {f"{part}/config.json" for part in ("text_encoder", "transformer", "vae")}
    assert set(hub.served) == {"model_index.json"} | configs
    assert "transformer: 0.00 billion numbers" in said
    assert "a GPU of 24 GiB: all on the GPU" in said
    assert "grouped: streamed block by block from RAM" in said
    assert run("check", "own", "--vram", "24", "--ram", "64").output == said, "from a folder the same"


def test_a_check_says_what_does_not_fit() -> None:
    assert (
        "a GPU of 1 GiB: too small: even its smallest clip takes 1.1 GiB of GPU memory\n"
        in run("check", "tiny", "--vram", "1", "--ram", "64").output
    )
    between = run("check", "tiny", "--vram", "1.2", "--ram", "64").output
    assert "too small for its largest clip, which takes 1.3 GiB of GPU memory. Its smallest: all on the GPU" in between
    assert "8 GiB: all on the GPU" in run("check", "tiny").output, "where no GPU is, every card's"


def test_a_check_says_which_wish_cannot_be_had(hub: Hub, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        ENTRY.format(name="tiny", repo=hub.repo)
        + 'memory = "quantised"\nloras = [{ repo = "some/lora", file = "a.safetensors" }]\n'
    )
    with pytest.raises(
        SetupError, match=r"cannot be placed as `quantised`: .* it has LoRAs\. .* to one of whole, evicted"
    ):
        run("check", "tiny", "--vram", "24", "--ram", "64")


def test_a_removal_leaves_what_another_model_here_is_made_from(hub: Hub) -> None:
    assert run("remove", "tiny").output == "Nothing of tiny is here.\n"
    run("pull", "tiny", "--yes")
    said = (
        "Nothing goes: twin is made from the same files. To delete them for all:\n  zoetrope models remove tiny twin\n"
    )
    assert run("remove", "tiny", "--yes").output == said
    assert blobs(hub)
    with pytest.raises(SetupError, match=r"Delete .* MB of Tiny and Tiny\? Nobody can be asked here; say --yes\."):
        run("remove", "tiny", "twin")
    assert blobs(hub)
    assert run("remove", "tiny", "twin", "--yes").output.endswith(" MB are free again.\n")
    assert list(Path(constants.HF_HUB_CACHE).glob("**/*tiny-wan*")) == [], "not even its folder"


def test_a_removal_knows_shared_parts_and_low_rank_weights(hub: Hub, tmp_path: Path) -> None:
    """`tiny` is kept, and made from its pipeline; `more` has a file of its own in the same repository."""
    hub.folder = Path(shutil.copytree(hub.folder, tmp_path / "copy"))
    save_file({"transformer.proj_out.lora_B.bias": torch.ones(192)}, hub.folder / "lora.safetensors")
    lora = f'loras = [{{ repo = "{hub.repo}", file = "lora.safetensors" }}]\n'
    part = f'parts = {{ vae = {{ repo = "{hub.repo}", folder = "vae" }} }}\n'
    own = ENTRY.format(name="parted", repo=hub.folder) + part
    away = ENTRY.format(name="away", repo=tmp_path / "nowhere")
    more = ENTRY.format(name="more", repo=hub.repo) + lora
    (tmp_path / "own.toml").write_text(ENTRY.format(name="tiny", repo=hub.repo) + more + own + away)
    run("pull", "more", "--yes")
    every = set(blobs(hub))
    assert "Nothing goes: more and parted are made from the same files." in run("remove", "tiny", "--yes").output
    said = run("remove", "more", "--yes").output
    assert " MB are free again. " in said and " stay: tiny and parted are made from them too." in said
    [gone] = every - set(blobs(hub))
    assert gone.name == sha256((hub.folder / "lora.safetensors").read_bytes()).hexdigest()
    said = run("remove", "tiny", "--yes").output
    assert " stay: parted is made from them too. What goes is also of use to more, not all of which is here." in said
    assert {blob.name for blob in blobs(hub)} == {mark_of(hub, f"vae/{name}") for name in VAE}
    with pytest.raises(SetupError, match="copy is a folder of your own"):
        run("remove", "parted", "--yes")


def test_a_removal_frees_old_revisions_and_what_killed_downloads_left(hub: Hub) -> None:
    run("pull", "tiny", "--yes")
    folder = blobs(hub)[0].parents[1]
    old = folder / "snapshots" / "older" / "transformer" / "diffusion_pytorch_model.safetensors"
    old.parent.mkdir(parents=True)
    (old.parents[1] / "model_index.json").write_text("{")
    (folder / "blobs" / "old").write_bytes(b"o" * 1000)
    old.symlink_to(folder / "blobs" / "old")
    (folder / "blobs" / "abc.0123abcd.incomplete").write_bytes(b"i" * 1000)
    run("remove", "tiny", "twin", "--yes")
    assert not folder.exists()


def test_a_folder_of_the_hosts_own_is_checked_and_never_deleted(tiny_wan: Path, hub: Hub) -> None:
    assert "0.0 MB still to come" in run("pull", "own").output
    assert hub.served == []
    with pytest.raises(SetupError, match="is a folder of your own"):
        run("remove", "own", "--yes")


def test_a_full_disk_is_said_before_anything_comes(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SetupError, match=r"^Tiny needs 0\.0 GB more in .*, and 1\.1 GB are free\. Free some space"):
        run("pull", "tiny", "--yes")
    assert hub.served == ["model_index.json"]


def test_without_the_hub_a_sentence_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(RetryableError, match="cannot be reached"):
        run("pull", "tiny", "--yes")
    point_to(hub.url, monkeypatch)
    run("pull", "tiny", "--yes")
    point_to("http://127.0.0.1:9", monkeypatch)
    said = run("pull", "tiny").output
    assert said.startswith("The hub cannot be reached: what is here is checked without it.\nTiny: ")
    assert said.endswith("All of it is here and whole.\n")
    with pytest.raises(SetupError, match=r"There is no open-weights model sketch\. There are: "):
        run("pull", "sketch")


def test_the_doctor_knows_what_came_by_halves_and_what_a_part_lacks(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Catalog.load(Settings.load().catalog)
    tiny, own = models.find("tiny"), models.find("own")
    parted = tiny.model_copy(update={"loras": (Lora(repo="somebody/lora", file="lora.safetensors"),)})
    lacking = Finding(
        "tiny",
        "its files are not (all) here: 0.0 of 0.0 GB have still to come",
        "Run `zoetrope models pull tiny`, or let the first render download them.",
    )
    assert examine_files(tiny) == lacking
    run("pull", "tiny", "--yes")
    assert [examine_files(model) for model in (tiny, own)] == [
        Finding("tiny", "its files are here"),
        Finding("own", "its files are here"),
    ]
    unknown = "The hub knows no somebody/lora. Mend `repo` in the catalogue; for a private one, set HF_TOKEN."
    assert examine_files(parted) == Finding("tiny", "its files cannot be used", unknown)
    point_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert examine_files(tiny) == Finding("tiny", "its files are here, as far as can be told without the hub")
    away = examine_files(parted)
    assert away.found == "its files are not (all) here, and cannot be fetched"
    assert away.fix.startswith("The hub at http://127.0.0.1:9 cannot be reached, and somebody/lora is not (all) here.")
    assert away.fix.endswith(lacking.fix)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids" in examine_files(parted).fix
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    point_to(hub.url, monkeypatch)
    max(blobs(hub), key=lambda blob: blob.stat().st_size).unlink()
    assert examine_files(tiny) == lacking


def test_a_list_on_a_narrow_terminal_cuts_no_name_and_tells_each_licence_once(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "tiny-with-a-name-as-long-as-they-are"
    (tmp_path / "long.toml").write_text(
        ENTRY.format(name=long, repo=hub.repo) + ENTRY.format(name="tiny", repo=hub.repo)
    )
    monkeypatch.setenv("ZOETROPE_CATALOG", str(tmp_path / "long.toml"))
    said = CliRunner().invoke(app, ["list"], catch_exceptions=False, env={"COLUMNS": "80"}).output
    assert f"\n{long} " in said
    assert " ".join(said.split()).count("No clips of dragons.") == 1
    assert f"{long} and tiny: Licence: Some Licence 1.0." in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80


def test_a_check_keeps_to_the_placement_that_the_host_chose(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a GPU of 12 GiB: all on the GPU" in run("check", "Own", "--vram", "12").output
    monkeypatch.setenv("ZOETROPE_MEMORY", "own=grouped")
    assert "a GPU of 12 GiB: streamed block by block" in run("check", "own", "--vram", "12").output
    monkeypatch.setenv("ZOETROPE_MEMORY", "owm=grouped")
    with pytest.raises(SetupError, match=r"ZOETROPE_MEMORY: there is no model owm\. Did you mean own\?"):
        run("check", "own")
