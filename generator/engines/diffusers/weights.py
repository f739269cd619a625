"""Where a model's weights are: a folder of the host's own, or the hub's cache, filled where something is missing.

Knows neither torch nor pipelines. A model is what `DiffusionPipeline.save_pretrained` writes: `model_index.json` and a
folder a component; only safetensors are taken, because the other formats run code when they are read.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import cast

from huggingface_hub import DryRunFileInfo, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of whichever HTTP library this version of the hub uses
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from clips.catalog import Model
from clips.errors import RetryableError, SetupError
from clips.repositories import Lora
from generator.engines.diffusers.leftovers import drop_leftovers

INDEX = "model_index.json"
_KINDS = ("json", "safetensors", "model", "txt")
_SELF_NAMED = (
    ("config.json", "_class_name", "diffusers"),
    ("config.json", "architectures", "transformers"),
    ("preprocessor_config.json", "image_processor_type", "transformers"),
)
_ROOM = 1024**3  # left free on the disk, for the database and the clips

HUB_ERRORS = (HTTPError, OSError, HFValidationError, EntryNotFoundError)
"""What the hub's client raises; `in_words` says what it means."""

Advance = Callable[[int], None]
"""Told of the bytes that have come in; it may raise to end the work."""


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


def find_all(model: Model, begin: Callable[[int], Advance]) -> Sources:
    """The files of a catalogue entry; see `find`."""
    if model.repo is None:
        raise SetupError(f"{model.name} names no `repo`. Mend the catalogue's entry.")
    loras = tuple((lora, find_file(lora.repo, lora.revision, lora.file, begin)) for lora in model.loras)
    parts = {name: find_folder(part.repo, part.revision, part.folder, begin) for name, part in model.parts.items()}
    return Sources(find(model.repo, model.revision, begin, without=parts.keys()), loras, parts)


def find(
    repo: str, revision: str | None, begin: Callable[[int], Advance], without: AbstractSet[str] = frozenset()
) -> Path:
    """The folder of a model, downloaded first where something is missing, but for the components `without`.

    `repo` is a hub id or a folder. `begin` is told once how many bytes are to be downloaded. Raises `SetupError` with
    what the host has to do, `RetryableError` where the network may mend by itself, and whatever the progress raises.
    """
    if folder := own_folder(repo):
        return folder
    try:
        return _download(repo, revision, wanted(repo, revision, without), begin)
    except HUB_ERRORS as error:
        raise in_words(error, repo, revision) from error


def find_file(repo: str, revision: str | None, file: str, begin: Callable[[int], Advance]) -> Path:
    """One file of a repository that is no pipeline; see `find`."""
    if folder := own_folder(repo):
        if not (folder / file).is_file():
            raise SetupError(f"There is no {file} in {folder}. Mend the catalogue's entry.")
        return folder / file
    try:
        return _download(repo, revision, [file], begin) / file
    except HUB_ERRORS as error:
        raise in_words(error, repo, revision) from error


def find_folder(repo: str, revision: str | None, folder: str, begin: Callable[[int], Advance]) -> Path:
    """One component of a repository; see `find`."""
    if own := own_folder(repo):
        if not (own / folder).is_dir():
            raise SetupError(f"There is no {folder} in {own}. Mend the catalogue's entry.")
        return own / folder
    try:
        return _download(repo, revision, within(folder), begin) / folder
    except HUB_ERRORS as error:
        raise in_words(error, repo, revision) from error


def wanted(repo: str, revision: str | None, without: AbstractSet[str] = frozenset()) -> list[str]:
    """Patterns of the files that a model on the hub is loaded from. Raises what the hub's client does."""
    index = Path(hf_hub_download(repo, INDEX, revision=revision))
    names = components(index.parent).keys() - without
    return [INDEX, *(pattern for name in sorted(names) for pattern in within(name))]


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
    """The parts of a model: name → (library, class). Raises `SetupError` where the folder holds no model."""
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
        if isinstance(library, str) and isinstance(kind, str)
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


def numbers(component: Path) -> int:
    """How many numbers the safetensors of a component hold: read from their headers, so a gigabyte costs nothing."""
    count = 0
    for file in component.glob("*.safetensors"):
        if is_variant(file.name):
            continue
        try:
            with file.open("rb") as head:
                size = int.from_bytes(head.read(8), "little")
                header: Mapping[str, Mapping[str, object]] = json.loads(head.read(size))
            shapes = [cast("list[int]", entry["shape"]) for name, entry in header.items() if name != "__metadata__"]
        except (OSError, ValueError, KeyError, AttributeError, MemoryError) as error:
            raise SetupError(f"{file} is broken or cut off. Delete it, and it is downloaded again.") from error
        count += sum(math.prod(shape) for shape in shapes)
    return count


def listed(repo: str, revision: str | None, patterns: list[str]) -> list[DryRunFileInfo]:
    """The files on the hub, and which of them are here. Raises `DryRunError` where the hub cannot be asked."""
    files = snapshot_download(repo, revision=revision, allow_patterns=patterns, dry_run=True, tqdm_class=_Bar)
    # A single file that was asked for by its name may look like a variant.
    return [file for file in files if file.filename in patterns or not is_variant(file.filename)]


def _download(repo: str, revision: str | None, patterns: list[str], begin: Callable[[int], Advance]) -> Path:
    """Fetch what the cache lacks, one file after another (each comes in parallel parts); a broken one is resumed."""
    try:
        files = listed(repo, revision, patterns)
    except DryRunError as blind:  # no way to the hub, or to this in it: what is here may be all of it
        try:
            return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True))
        except LocalEntryNotFoundError:
            raise blind from blind.__cause__
    missing = [file for file in files if file.will_download]
    size = sum(file.file_size or 0 for file in missing)
    check_disk(repo, size)
    advance = begin(size)

    class Bar(_Bar):
        def update(self, n: float | None = 1) -> bool | None:
            advance(int(n or 0))
            return super().update(n)

    for file in missing:
        advance(0)
        hf_hub_download(repo, file.filename, revision=file.commit_hash, tqdm_class=Bar)
    return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True))


def check_disk(what: str, size: int) -> None:
    """Raise `SetupError` where so many bytes more have no room in the hub's cache, rid of what is of no use there."""
    if size:
        drop_leftovers()
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(parent for parent in (cache, *cache.parents) if parent.exists())).free
    if size and size + _ROOM > free:
        raise SetupError(
            f"{what} needs {size / 1e9:.1f} GB more in {cache}, and {free / 1e9:.1f} GB are free. Free some space, or "
            "set HF_HOME to a folder on a larger disk."
        )


class _Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument] - the hub calls the class, it iterates over nothing
    """Draws nothing. The hub's second bar, of bytes on the wire, is merged into it and left out."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["disable"] = True
        super().__init__(*args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue] - passed through

    def update_transfer(self, n: float | None = 1) -> None:
        """Bytes on the wire; `update` counts those on the disk."""

    def set_transfer_postfix_str(self, s: str = "", refresh: bool = True) -> None:  # noqa: FBT001, FBT002 - the hub's
        """The rate on the wire."""


def in_words(error: Exception, repo: str, revision: str | None) -> SetupError | RetryableError:
    """A failure of the hub as a sentence. The order matters: most of these classes are each other's parents."""
    if isinstance(error, DryRunError) and isinstance(
        error.__cause__, RepositoryNotFoundError
    ):  # or gated, which is one
        error = error.__cause__
    match error:
        case GatedRepoError():
            page = f"{constants.ENDPOINT}/{repo}"
            sentence = f"{repo} is behind a licence. Accept it at {page}, then set HF_TOKEN to that account's token."
        case RevisionNotFoundError():
            sentence = f"{repo} has no revision {revision}. Mend `revision` in the catalogue."
        case RepositoryNotFoundError():
            sentence = f"The hub knows no {repo}. Mend `repo` in the catalogue; for a private one, set HF_TOKEN."
        case LocalEntryNotFoundError() | DryRunError() if constants.HF_HUB_OFFLINE:
            sentence = (
                f"The weights of {repo} are not (all) on this machine, and HF_HUB_OFFLINE forbids to download them. "
                "Unset it once."
            )
        case LocalEntryNotFoundError() | DryRunError():
            return RetryableError(f"The hub at {constants.ENDPOINT} cannot be reached, and {repo} is not (all) here.")
        case EntryNotFoundError():
            sentence = f"{repo} is not a diffusers model: it has no {INDEX}."
        case HFValidationError():
            sentence = f"“{repo}” is neither a folder nor a hub id. Mend `repo` in the catalogue."
        case OSError(errno=int()):
            sentence = f"The weights of {repo} cannot be stored: {error.strerror or error}."
        case _:
            return RetryableError(f"The download of {repo} failed: {error}")
    return SetupError(sentence)
