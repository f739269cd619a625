"""What of a model can go from the hub's cache, and what others need.

A repository is a folder of `blobs`, and of `snapshots`, one a revision, whose files are links to blobs. Knows no hub.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from clips.catalog import Model
from clips.errors import SetupError
from generator.engines.diffusers.hub import here
from generator.engines.diffusers.leftovers import folder_of, is_abandoned
from generator.engines.diffusers.origins import Origin, origins
from generator.engines.diffusers.weights import own_folder


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes with some models, and what stays for others. `size`: bytes that will be free."""

    links: frozenset[Path]
    blobs: frozenset[Path]
    spared: frozenset[Path]

    @property
    def size(self) -> int:
        return _bytes(self.blobs)

    @property
    def kept(self) -> int:
        """Bytes that others need."""
        return _bytes({link.resolve() for link in self.spared})

    def takes_from(self, model: Model) -> bool:
        """Whether a model that is not among them loses files."""
        return not self.links.isdisjoint(here(model))

    def leaves_to(self, model: Model) -> bool:
        """Whether a model is why something stays."""
        return not self.spared.isdisjoint(here(model))

    def carry_out(self) -> None:
        """Delete it, and with the last file of a repository its folder."""
        for file in self.links | self.blobs:
            file.unlink(missing_ok=True)
        for folder in {folder_of(file) for file in self.links | self.blobs}:
            if not any(file.is_file() for file in folder.glob("snapshots/*/**/*")):
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(folder.parent / ".locks" / folder.name, ignore_errors=True)


def removal(gone: Iterable[Model], kept: Sequence[Model]) -> Removal:
    """What can go when these models are no longer wanted here: in every revision, and with what broken-off downloads
    left of them. A file that a kept model is made from stays, and so do a host's own folders.
    """
    needed = {file for model in kept for file in here(model)}
    files: set[Path] = set()
    folders: set[Path] = set()
    for origin in (origin for model in gone for origin in origins(model) if not own_folder(origin.repo)):
        folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=origin.repo, repo_type="model"))
        folders.add(folder)
        files |= {file for root in folder.glob("snapshots/*") for file in _within(origin, root)}
    links = files - needed
    blobs = {blob for folder in folders for blob in _unused(folder, links)}
    return Removal(frozenset(links), frozenset(blobs), frozenset(files & needed))


def _within(origin: Origin, root: Path) -> list[Path]:
    try:
        return origin.within(root)
    except SetupError:  # its index is damaged
        return [file for file in root.rglob("*") if file.is_file()]


def _unused(folder: Path, gone: set[Path]) -> set[Path]:
    """The blobs that no file refers to once some are gone, but for those that are being downloaded."""
    used = {file.resolve() for file in folder.glob("snapshots/*/**/*") if file.is_file() and file not in gone}
    blobs = {blob.resolve() for blob in folder.glob("blobs/*")} - used
    return {blob for blob in blobs if blob.suffix != ".incomplete" or is_abandoned(blob)}


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
