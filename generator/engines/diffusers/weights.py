"""What a model's files are: a folder that `DiffusionPipeline.save_pretrained` wrote, with `model_index.json` in it and
a folder a component. Knows neither torch nor pipelines, nor the hub.

Only safetensors are taken, because the other formats run code when they are read.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import cast

from clips.catalog import Model
from clips.errors import SetupError
from clips.repositories import Lora

INDEX = "model_index.json"
_KINDS = ("json", "safetensors", "model", "txt")
_SHARD = re.compile(r"-\d+-of-(\d+)\.safetensors$")
_SELF_NAMED = (
    ("config.json", "_class_name", "diffusers"),
    ("config.json", "architectures", "transformers"),
    ("preprocessor_config.json", "image_processor_type", "transformers"),
)
_OF_NO_USE = {"safety_checker"}
"""Components that some repositories have and no pipeline that takes a photo does."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All files of a model, on this machine. `loras` are merged into its weights, each from its file; `parts` are the
    folders of the components that take the place of the folder's own, or that it lacks.
    """

    folder: Path
    loras: tuple[tuple[Lora, Path], ...] = ()
    parts: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def components(self) -> dict[str, tuple[str, str]]:
        """Name → (library, class); see `components`."""
        return components(self.folder) | {name: _class_of(folder) for name, folder in self.parts.items()}

    def at(self, name: str) -> Path:
        """The folder of a component."""
        return self.parts.get(name, self.folder / name)

    def pinned(self, model: Model) -> Model:
        """The entry with the commit of each repository as its revision; none for a folder of the host's own."""
        loras = [lora.model_copy(update={"revision": _commit(file)}) for lora, file in self.loras]
        parts = {
            name: part.model_copy(update={"revision": _commit(self.parts[name])}) for name, part in model.parts.items()
        }
        return model.model_copy(
            update={"revision": _commit(self.folder), "loras": tuple(loras), "parts": parts},
        )


def within(folder: str) -> list[str]:
    """Patterns of a component's files; an empty name is the repository itself."""
    return [f"{folder}/*.{kind}" if folder else f"*.{kind}" for kind in _KINDS]


def own_folder(repo: str) -> Path | None:
    """The folder of the host's own that `repo` names; None for a hub id."""
    folder = Path(repo).expanduser()
    if folder.is_dir():
        return folder
    if repo.startswith((".", "~", "/")) or repo.count("/") > 1:
        raise SetupError(f"There is no model folder {repo}. Mend `repo` in the catalogue.")
    return None


def components(folder: Path) -> dict[str, tuple[str, str]]:
    """The parts of a model that a pipeline is made from: name → (library, class). Raises `SetupError` where the folder
    holds no model.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SetupError(
            f"{folder} holds no diffusers model: {INDEX} is missing. Point `repo` in the catalogue to a folder that "
            "save_pretrained wrote, or to a hub id."
        ) from None
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder / INDEX} cannot be read: {error}.") from error
    if not isinstance(index, dict):
        raise SetupError(f"{folder / INDEX} is not the index of a model.")
    entries = cast("dict[str, object]", index).items()
    return {
        name: (library, kind)
        for name, entry in entries
        if isinstance(entry, list) and len(cast("list[object]", entry)) == 2
        for library, kind in [cast("list[object]", entry)]
        if isinstance(library, str) and isinstance(kind, str) and name not in _OF_NO_USE
    }


def _commit(path: Path) -> str | None:
    """Of a file or folder in the hub's cache, where a snapshot's folder is named after its commit."""
    return next((part for part, above in pairwise(reversed(path.parts)) if above == "snapshots"), None)


def _class_of(folder: Path) -> tuple[str, str]:
    """The library and class of a component that no index names: it tells them itself."""
    for file, key, library in _SELF_NAMED:
        try:
            config = cast("dict[str, object]", json.loads((folder / file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise SetupError(f"{folder / file} cannot be read: {error}.") from error
        match config.get(key):
            case str(name) | [str(name), *_]:
                return library, name
            case _:
                continue
    raise SetupError(f"{folder} does not say what it is: no config in it names a class. Mend `parts` in the catalogue.")


def is_variant(file: str) -> bool:
    """Whether a weight file repeats another one in fewer bits: `model.fp16.safetensors`. Those are not used."""
    return file.endswith(".safetensors") and "." in Path(file).stem


def weight_files(component: Path) -> list[Path]:
    """The safetensors that a component is loaded from."""
    return [file for file in used_files(component) if file.suffix == ".safetensors"]


def numbers(component: Path) -> int:
    """How many numbers the safetensors of a component hold: read from their headers, so a gigabyte costs nothing.

    Raises `SetupError` where one cannot be read, or is shorter or longer than its header says.
    """
    count = 0
    for file in weight_files(component):
        try:
            whole = ends_well(file)
        except OSError as error:
            raise SetupError(f"{file} cannot be read: {error.strerror}.") from error
        if not whole:
            raise SetupError(
                f"{file} is broken or cut off. `zoetrope models pull` with the model's name fetches it again; into a "
                "folder of your own, copy it again."
            )
        count += sum(map(_count, _tensors(file)[1]))
    return count


def ends_well(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says. Raises `OSError` where it cannot be read."""
    try:
        begin, tensors = _tensors(file)
        ends = [cast("list[int]", entry["data_offsets"])[1] for entry in tensors if _count(entry)]
        return file.stat().st_size == begin + max(ends, default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError, OverflowError):
        return False


def _count(tensor: Mapping[str, object]) -> int:
    return math.prod(cast("list[int]", tensor["shape"]))


def _tensors(file: Path) -> tuple[int, list[Mapping[str, object]]]:
    """Where the bytes of a safetensors file begin, and what its header says of each tensor."""
    with file.open("rb") as head:
        size = int.from_bytes(head.read(8), "little")
        header: Mapping[str, Mapping[str, object]] = json.loads(head.read(size))
    return 8 + size, [entry for name, entry in header.items() if name != "__metadata__"]


def is_complete(files: list[Path]) -> bool:
    """Whether these may be all files of a component: a file of weights whose last shards are still to come is seen."""
    names = {file.name for file in files}
    weights = [name for name in names if name.endswith(".safetensors")]
    shards = [found for name in weights if (found := _SHARD.search(name))]
    return (
        bool(names)
        and bool(weights or "config.json" not in names)
        and all(int(one[1]) == len(shards) for one in shards)
    )


def used_files(folder: Path) -> list[Path]:
    """The files of a component, but for variants."""
    return [path for path in sorted(folder.glob("*")) if path.is_file() and not is_variant(path.name)]
