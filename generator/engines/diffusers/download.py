"""Files of one repository on the hub: which there are, their way into the cache, and what went wrong on it.

Knows nothing of models, nor of what the files are for.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import get_ident

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
from huggingface_hub.utils._xet import abort_xet_session
from tqdm.auto import tqdm

from clips.errors import RetryableError, SetupError
from generator.engines.diffusers.leftovers import drop_leftovers
from generator.engines.diffusers.weights import INDEX, is_variant

_ROOM = 1024**3  # left free on the disk, for the database and the clips

HUB_ERRORS = (HTTPError, OSError, HFValidationError, EntryNotFoundError)
"""What the hub's client raises; `in_words` says what it means."""

Advance = Callable[[int], None]
"""Told of the bytes that have come in; it may raise to end the work."""


def listed(repo: str, revision: str | None, patterns: list[str]) -> list[DryRunFileInfo]:
    """The files on the hub by name, and which of them are here. Raises `DryRunError` where the hub cannot be asked."""
    files = snapshot_download(repo, revision=revision, allow_patterns=patterns, dry_run=True, tqdm_class=_Bar)
    # A single file that was asked for by its name may look like a variant.
    wanted = [file for file in files if file.filename in patterns or not is_variant(file.filename)]
    return sorted(wanted, key=lambda file: file.filename)  # the hub's client has them as its threads came back


def fetch(repo: str, files: Iterable[DryRunFileInfo], advance: Advance) -> None:
    """Bring files into the cache, one after another; each may come in parallel parts. Raises what the hub's client
    does, and what `advance` raises at the next bytes that come in. Files that came whole are kept.
    """
    ends: list[BaseException] = []
    caller = get_ident()

    def tell(count: int) -> None:
        if ends:
            return
        try:
            advance(count)
        except BaseException as end:
            ends.append(end)
            if get_ident() == caller:
                raise
            abort_xet_session()  # hf_xet tells from a thread of its own, where whatever is raised gets lost

    class Bar(_Bar):
        def update(self, n: float | None = 1) -> bool | None:
            tell(int(n or 0))
            return super().update(n)

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire, which hf_xet counts apart from those on the disk."""
            del n
            tell(0)

    for file in files:
        advance(0)
        try:
            hf_hub_download(repo, file.filename, revision=file.commit_hash, tqdm_class=Bar)
        finally:
            if ends:
                raise ends[0]


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
    """Draws nothing. With `update_transfer` it stands in for the hub's second bar too, of bytes on the wire."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["disable"] = True
        super().__init__(*args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue] - passed through

    def update_transfer(self, n: float | None = 1) -> None:
        """Bytes on the wire."""

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
            return RetryableError(
                f"The hub at {constants.ENDPOINT} cannot be reached, and {repo} is not (all) here. "
                "Check this machine's network."
            )
        case EntryNotFoundError():
            sentence = f"{repo} is not a diffusers model: it has no {INDEX}."
        case HFValidationError():
            sentence = f"“{repo}” is neither a folder nor a hub id. Mend `repo` in the catalogue."
        case OSError(errno=int()):
            sentence = f"The weights of {repo} cannot be stored: {error.strerror or error}."
        case _:
            return RetryableError(f"The download of {repo} failed: {error}")
    return SetupError(sentence)
