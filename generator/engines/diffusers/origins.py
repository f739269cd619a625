"""What a model is made from: files of one or several repositories, on the hub or in folders of the host's own.

Knows neither torch nor pipelines.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import DryRunFileInfo, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError

from clips.catalog import Model
from clips.errors import SetupError
from clips.wishes import joined
from generator.engines.diffusers.download import HUB_ERRORS, Advance, check_disk, fetch, in_words, listed
from generator.engines.diffusers.weights import (
    INDEX,
    Sources,
    components,
    is_complete,
    own_folder,
    used_files,
    within,
)

log = logging.getLogger(__name__)

Begin = Callable[[int, int], Advance]
"""Told once, before anything comes, how many bytes have to come, and how many of weights there are to be read then."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Files of one repository that a model is made from: a pipeline without some components, one component, a file."""

    repo: str
    revision: str | None
    without: frozenset[str] = frozenset()
    component: str | None = None
    folder: str = ""
    file: str | None = None

    def patterns(self) -> list[str]:
        """What to ask the hub for. Raises what the hub's client does."""
        if self.file is not None:
            return [self.file]
        if self.component is not None:
            return within(self.folder)
        index = Path(hf_hub_download(self.repo, INDEX, revision=self.revision))
        names = components(index.parent).keys() - self.without
        return [INDEX, *(pattern for name in sorted(names) for pattern in within(name))]

    def own(self) -> Path | None:
        """The folder of the host's own that it is in; None for the hub. Raises `SetupError` where that lacks a part, or
        lets nobody read it.
        """
        own = own_folder(self.repo)
        if own is None:
            return None
        if not self.at(own).exists():
            raise SetupError(f"There is no {self.file or self.folder} in {own}. Mend the catalogue's entry.")
        parts = [] if self.file is not None else self._parts(own)
        if lacking := [part.name for part in parts if not part.is_dir()]:
            raise SetupError(f"{own} lacks {joined(lacking)}, which its {INDEX} names. Copy the whole model there.")
        if closed := [part.name for part in parts if not os.access(part, os.R_OK | os.X_OK)]:
            raise SetupError(f"No right to read {joined(closed)} in {own}. Let the user who runs this read all of it.")
        return own

    def listed(self) -> list[DryRunFileInfo]:
        """Its files on the hub, and which of them are here. Raises what the hub's client does."""
        return listed(self.repo, self.revision, self.patterns())

    def look(self) -> "Found":
        """Which files it has, by the hub where it can be asked, and by what is here where that may be all.

        Raises `SetupError` with what the host has to do, `RetryableError` where the network may mend by itself.
        """
        if own := self.own():
            return Found(self, own, self._weights(own))
        try:
            return self._look_there()
        except HUB_ERRORS as error:
            raise in_words(error, self.repo, self.revision) from error

    def _look_there(self) -> "Found":
        patterns = self.patterns()
        try:
            files = listed(self.repo, self.revision, patterns)
        except DryRunError as blind:
            try:
                root = _snapshot(self.repo, self.revision, patterns)
            except LocalEntryNotFoundError:
                raise blind from blind.__cause__
            return Found(self, root, self._weights(root))
        weights = sum(file.file_size or 0 for file in files if file.filename.endswith(".safetensors"))
        return Found(self, None, weights, tuple(file for file in files if file.will_download), tuple(patterns))

    def at(self, root: Path) -> Path:
        """The file or folder that it is, in a folder of its repository."""
        return root / (self.folder if self.file is None else self.file)

    def here(self) -> list[Path]:
        """Its files on this machine, found without the hub."""
        root = self._root()
        return [] if root is None else self.within(root)

    def within(self, root: Path) -> list[Path]:
        """Its files that are in a folder, which may be any revision of its repository. Raises `SetupError`."""
        if self.file is not None:
            return [file for file in [root / self.file] if file.is_file()]
        if self.component is None and not (root / INDEX).is_file() and own_folder(self.repo) is None:
            return []
        return [
            *([] if self.component else [root / INDEX]),
            *(file for part in self._parts(root) for file in used_files(part)),
        ]

    def whole(self) -> bool:
        """Whether all of it is here, as far as can be told without the hub. A host's own folder is taken as it is."""
        root = self._root()
        if root is None or own_folder(self.repo):
            return root is not None
        return self.file is not None or all(is_complete(used_files(part)) for part in self._parts(root))

    def _weights(self, root: Path) -> int:
        return sum(file.stat().st_size for file in self.within(root) if file.suffix == ".safetensors")

    def _root(self) -> Path | None:
        """The folder of its repository on this machine; None where nothing of it has come."""
        if own := own_folder(self.repo):
            return own
        names = ("config.json", "preprocessor_config.json") if self.component else (self.file or INDEX,)
        for name in (f"{self.folder}/{name}".lstrip("/") for name in names):
            cached = try_to_load_from_cache(self.repo, name, revision=self.revision)
            if isinstance(cached, str):
                return Path(cached.removesuffix(name))
        return None

    def _parts(self, root: Path) -> list[Path]:
        """The folders of its components."""
        if self.component is not None:
            return [root / self.folder]
        return [root / name for name in sorted(components(root).keys() - self.without)]


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of an origin: `root` is a folder of its repository, None until `missing` has come. `weights`: bytes
    of its safetensors.
    """

    origin: Origin
    root: Path | None
    weights: int
    missing: tuple[DryRunFileInfo, ...] = ()
    patterns: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to come."""
        return sum(file.file_size or 0 for file in self.missing)

    def fetch(self, advance: Advance) -> Path:
        """Bring what is missing; the file or folder that the origin is. Raises as `Origin.look`, and what `advance`
        raises.
        """
        origin = self.origin
        if self.root is not None:
            return origin.at(self.root)
        try:
            fetch(origin.repo, self.missing, advance)
            return origin.at(_snapshot(origin.repo, origin.revision, list(self.patterns)))
        except HUB_ERRORS as error:
            raise in_words(error, origin.repo, origin.revision) from error


def origins(model: Model) -> list[Origin]:
    """All that a model is made from: its pipeline, its parts, its LoRAs."""
    if model.repo is None:
        raise SetupError(f"{model.name} names no `repo`. Mend the catalogue's entry.")
    return [
        Origin(model.repo, model.revision, without=frozenset(model.parts)),
        *(
            Origin(part.repo, part.revision, component=name, folder=part.folder or "")
            for name, part in model.parts.items()
        ),
        *(Origin(lora.repo, lora.revision, file=lora.file) for lora in model.loras),
    ]


def find_all(model: Model, begin: Begin) -> Sources:
    """All files of a catalogue entry, downloaded first where something is missing; its licence is logged before that.

    Raises `SetupError` with what the host has to do, `RetryableError` where the network may mend by itself, and what
    the progress raises.
    """
    found = [origin.look() for origin in origins(model)]
    missing = sum(one.size for one in found)
    check_disk(model.title, missing)
    if missing:
        log.warning("%s is fetched from the hub, %.1f GB. %s", model.name, missing / 1e9, model.terms)
    advance = begin(missing, sum(one.weights for one in found))
    folder, *others = [one.fetch(advance) for one in found]
    parts = dict(zip(model.parts, others, strict=False))
    return Sources(folder, tuple(zip(model.loras, others[len(parts) :], strict=True)), parts)


def _snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True))
