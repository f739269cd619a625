"""What of a model is on this machine, what is still to come, and whether it came whole.

Knows neither torch nor pipelines, and downloads no weights: that is `origins`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

from clips.catalog import Model
from clips.errors import RetryableError, SetupError
from generator.engines.diffusers.checkpoint import Checkpoint, Config, read_config
from generator.engines.diffusers.download import HUB_ERRORS, Advance, in_words
from generator.engines.diffusers.origins import Origin, origins
from generator.engines.diffusers.weights import ends_well
from generator.engines.diffusers.weights import numbers as count_numbers

_CHUNK = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Stock:
    """Bytes of a model's files: all of them, and those that are not here yet."""

    total: int
    missing: int


def stock(model: Model) -> Stock:
    """Ask the hub what the model takes. Raises `SetupError`, and `RetryableError` where the hub cannot be reached."""
    total = missing = 0
    blind: SetupError | RetryableError | None = None
    for origin in origins(model):
        if origin.own():
            total += sum(file.stat().st_size for file in origin.here())
            continue
        try:
            for found in origin.listed():
                total += found.file_size or 0
                missing += (found.file_size or 0) if found.will_download else 0
        except HUB_ERRORS as error:
            blind = in_words(error, origin.repo, origin.revision)
            if not origin.whole():  # the one to name
                raise blind from error
    if blind:
        raise blind
    return Stock(total, missing)


def whole(model: Model) -> bool:
    """Whether all of the model is on this machine, as far as can be told without the hub."""
    return all(origin.whole() for origin in origins(model))


def here(model: Model) -> list[Path]:
    """The model's files that are on this machine, found without the hub."""
    return [file for origin in origins(model) for file in origin.here()]


def describe(model: Model) -> Checkpoint:
    """A model's components, from its folders or from the hub's own view of it: only headers and configurations come.

    Raises `SetupError`, and `RetryableError` where the hub cannot be reached.
    """
    numbers: dict[str, int] = {}
    configs: dict[str, Config] = {}
    for origin in origins(model):
        if origin.file is not None:
            continue  # merged into what is counted already
        files = origin.here() if origin.own() or origin.whole() else []
        try:
            seen = _seen_here(origin, files) if files else _seen_there(origin)
        except (SafetensorsParsingError, NotASafetensorsRepoError) as error:
            raise SetupError(f"The weights of {origin.repo} on the hub are not what they say: {error}") from error
        except HUB_ERRORS as error:
            if not (files := origin.here()):
                raise in_words(error, origin.repo, origin.revision) from error
            seen = _seen_here(origin, files)
        for name, (count, read) in seen.items():
            numbers[name], configs[name] = count, read
    return Checkpoint(numbers, configs)


def _seen_here(origin: Origin, files: list[Path]) -> dict[str, tuple[int, Config]]:
    folders = {file.parent for file in files if file.suffix == ".safetensors"}
    return {
        origin.component or folder.name: (count_numbers(folder), read_config(folder / "config.json"))
        for folder in sorted(folders)
    }


def _seen_there(origin: Origin) -> dict[str, tuple[int, Config]]:
    api, counts = HfApi(endpoint=constants.ENDPOINT), dict[str, int]()
    names = [file.filename for file in origin.listed()]
    for name in names:
        if name.endswith(".safetensors"):
            head = api.parse_safetensors_file_metadata(origin.repo, name, revision=origin.revision)
            folder = name.rpartition("/")[0]
            counts[folder] = counts.get(folder, 0) + sum(head.parameter_count.values())
    found: dict[str, tuple[int, Config]] = {}
    for folder, count in sorted(counts.items()):
        file = f"{folder}/config.json".lstrip("/")
        path = Path(api.hf_hub_download(origin.repo, file, revision=origin.revision)) if file in names else None
        found[origin.component or folder] = count, read_config(path) if path else {}
    return found


def damaged(files: list[Path], advance: Advance) -> list[Path]:
    """The files whose bytes are not those that the hub named them by, or whose end is missing. Reads all of each."""
    return [file for file in files if not _is_whole(file, advance)]


def discard(files: list[Path]) -> None:
    """Delete files of the cache, so that the next download brings them again."""
    for file in files:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def _is_whole(file: Path, advance: Advance) -> bool:
    name = file.resolve().name
    # The cache names a file by the SHA-256 of a large one, and by git's own hash of a small one.
    size = file.stat().st_size
    match len(name), file.suffix:
        case 64, _:
            digest = hashlib.sha256()
        case 40, _:
            digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        case _, ".safetensors":
            advance(size)
            return ends_well(file)
        case _:
            advance(size)
            return True
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest() == name
