"""A Postgres of our own for hosts without one: made, started, kept running, and stopped. Linux only.

A folder holds `lock`, the data as `<major>/`, and `server.log`. Whoever holds the lock owns the server; other processes
join it. The server inherits the lock, so a free lock proves that no process of an earlier server is left, whatever
happened to its owner and whoever has its process id now. It listens on a Unix socket alone, in a folder that only its
user can enter, which stands in for a password. It ends with its owner, by a fast shutdown.

As root it runs as another user, who may not be able to walk the path to the data: it is handed the open folder.
"""

import asyncio
import fcntl
import logging
import os
import pwd
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT, Signals
from subprocess import DEVNULL, Popen
from time import monotonic
from urllib.parse import urlencode

import asyncpg

from clips.errors import SetupError
from clips.installations import find_installation
from clips.postgres import OUTAGE
from clips.processes import Account, bound_to_us

log = logging.getLogger(__name__)

_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107
_START_BOUND = 120.0  # a recovery may have a gigabyte to replay
_STOPS = ((SIGINT, 30.0), (SIGQUIT, 10.0), (SIGKILL, 10.0))
_LARGEST_LOG = 8 * 1024 * 1024
_POLL = 0.02
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_INITDB = ("--username=zoetrope", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions")
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "jit": "off",  # our statements are short: compiling them costs more than it saves
}


@asynccontextmanager
async def database(url: str | None, folder: Path, *, force_wheel: bool = False) -> AsyncGenerator[str]:
    """The DSN to use: the host's own where there is one, else that of a server kept in `folder`."""
    if url:
        yield url
    else:
        async with embedded(folder, force_wheel=force_wheel) as dsn:
            yield dsn


@asynccontextmanager
async def embedded(
    folder: Path, *, force_wheel: bool = False, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[str]:
    """The DSN of a running server. The first start in a folder takes about a second, a later one a tenth.

    Where another process owns the folder's server, it is joined and left running. Otherwise it is ours: started again
    if it dies, stopped at the end. `SetupError` says why there is none.
    """
    if sys.platform != "linux":
        raise SetupError("The built-in Postgres runs on Linux only. Set DATABASE_URL to a server of yours.")
    folder = _made(folder)
    claim = await _own_or_join(folder)
    if isinstance(claim, str):
        yield claim
        return
    server = _Server(folder, claim, {**_SETTINGS, **(settings or {})})
    try:
        await server.prepare(force_wheel=force_wheel)
        await server.launch()
        keeper = asyncio.create_task(_keep(server))
        try:
            yield server.dsn
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
    finally:
        await server.stop()


class _Server:
    """The server that this process owns: `prepare`, then `launch` as often as needed, then `stop`."""

    def __init__(self, folder: Path, lock: int, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._log = folder / "server.log"
        self._lock = lock
        self._settings = settings
        self._process: Popen[bytes] | None = None
        self._short_folder: Path | None = None

    async def prepare(self, *, force_wheel: bool) -> None:
        """Finds the binaries, makes the data unless there is some, and clears what a killed server left."""
        with _explained(self._folder):
            major = max(_majors(self._folder), default=None)
            self._account = _server_account(self._folder / str(major))
            self._installation = find_installation(major=major, account=self._account, force_wheel=force_wheel)
            self._data = self._folder / str(self._installation.major)
            if major is None:
                await self._make_data()
            # As the lock is ours, the process that these name is a stranger or a zombie; they would stop our server.
            for left_over in ("postmaster.pid", f"{_SOCKET}.lock"):
                (self._data / left_over).unlink(missing_ok=True)
            socket_folder = self._data
            if len(os.fsencode(self._data / _SOCKET)) > _LONGEST_SOCKET or "," in str(self._data):
                socket_folder = self._short_folder = self._give(Path(tempfile.mkdtemp(prefix="zoetrope-")))
        self.dsn = _dsn(socket_folder)

    async def _make_data(self) -> None:
        fresh = self._folder / f"{self._data.name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        initdb = self._spawn("initdb", _INITDB, data=fresh, death=SIGKILL)
        try:
            await _ended(initdb, _START_BOUND)
        finally:
            await _end(initdb, _STOPS[-1:])
        if initdb.returncode != 0:
            raise self._failure("prepare its data folder")
        fresh.replace(self._data)
        opened = os.open(self._folder, os.O_RDONLY)
        os.fsync(opened)  # or a power cut could bring back the old name, and the next start would clear it away
        os.close(opened)

    async def launch(self) -> None:
        """Starts the server and returns once it answers."""
        with _explained(self._folder):
            options = [f"-c{name}={value}" for name, value in self._settings.items()]
            options.append(f"-cunix_socket_directories={self._short_folder or '.'}")
            self._process = self._spawn("postgres", options, data=self._data, death=SIGINT)
        deadline = monotonic() + _START_BOUND
        while not await _answers(self.dsn):
            if self.ended or monotonic() > deadline:
                raise self._failure("start")
            await asyncio.sleep(_POLL)

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    async def stop(self) -> None:
        """A fast shutdown, an immediate one if that takes too long, and the lock let go."""
        try:
            if self._process:
                await _end(self._process, _STOPS)
        finally:
            if self._short_folder:
                shutil.rmtree(self._short_folder, ignore_errors=True)
            os.close(self._lock)

    def _spawn(self, program: str, options: Sequence[str], *, data: Path, death: Signals) -> Popen[bytes]:
        if self._log.exists() and self._log.stat().st_size > _LARGEST_LOG:
            self._log.unlink()
        opened = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with self._log.open("ab") as output:
                self._log_start = output.tell()
                command = [str(self._installation.binaries / program), "-D", f"/proc/self/fd/{opened}", *options]
                return Popen(  # noqa: S603 - our own binaries, no shell
                    bound_to_us(command, death=death, account=self._account),
                    stdin=DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=_ENVIRONMENT,
                    pass_fds=(opened, self._lock),
                    start_new_session=True,  # a terminal's Ctrl-C is for us; the server goes last
                )
        finally:
            os.close(opened)

    def _give(self, folder: Path) -> Path:
        if self._account:
            os.chown(folder, self._account.uid, self._account.gid)
        return folder

    def _failure(self, deed: str) -> SetupError:
        with self._log.open("rb") as written:
            written.seek(self._log_start)
            lines = written.read().decode(errors="replace")
        if "No space left on device" in lines:
            return _disk_full(self._folder)
        # "The database system is starting up" is only what our own knocking was told.
        reasons: list[str] = re.findall(r"(?:FATAL|PANIC|error):\s+(?!the database system is)(.+)", lines)
        reason = reasons[-1] if reasons else f"no answer within {_START_BOUND:.0f} s"
        return SetupError(f"The built-in Postgres could not {deed}: {reason}. Its log is {self._log}.")


async def _keep(server: _Server) -> None:
    while True:
        await asyncio.sleep(0.5)
        if server.ended:
            log.warning("Postgres ended unexpectedly; starting it again.")
            try:
                await server.launch()
            except SetupError as error:
                log.error("%s", error)  # noqa: TRY400 - the sentence is the whole story


async def _own_or_join(folder: Path) -> int | str:
    """The lock, held, where the server is ours to run; else the DSN of the one that runs."""
    deadline = monotonic() + _START_BOUND
    while monotonic() < deadline:
        with _explained(folder):
            if (lock := _locked(folder)) is not None:
                return lock
            # Its owner may still be making it, or be dead and the server about to end and free the lock.
            if (dsn := _running(folder)) and await _answers(dsn):
                return dsn
        await asyncio.sleep(_POLL)
    raise SetupError(f"Another process runs the Postgres in {folder}, but it does not answer. Stop that process first.")


def _made(folder: Path) -> Path:
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def _locked(folder: Path) -> int | None:
    """The folder's lock, held; or None where another process, or a server that still ends, holds it."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _running(folder: Path) -> str | None:
    """The DSN of the server that says it runs in the folder. Its pid file names the socket's folder in line 5."""
    data = folder / str(max(_majors(folder), default=None))
    try:
        return _dsn(data / (data / "postmaster.pid").read_text().splitlines()[4])
    except (FileNotFoundError, IndexError):
        return None


def _dsn(socket_folder: Path) -> str:
    return f"postgresql://zoetrope@/postgres?{urlencode({'host': str(socket_folder), 'port': 5432})}"


def _majors(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def _server_account(data: Path) -> Account | None:
    """Who runs the server: us, or as root whoever owns the data, at first the usual user for it."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user.pw_uid, user.pw_gid)
    raise SetupError("Postgres does not run as root, and there is no user `nobody`. Start Zoetrope as another user.")


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close(timeout=5)
    except PermissionError:
        raise
    except OUTAGE:
        return False
    return True


async def _end(process: Popen[bytes], steps: Sequence[tuple[Signals, float]]) -> None:
    for number, bound in steps:
        if process.poll() is None:
            process.send_signal(number)
            await _ended(process, bound)


async def _ended(process: Popen[bytes], bound: float) -> None:
    deadline = monotonic() + bound
    while process.poll() is None and monotonic() < deadline:  # noqa: ASYNC110 - a Popen has no event to wait for
        await asyncio.sleep(_POLL)


def _disk_full(folder: Path) -> SetupError:
    return SetupError(f"The disk that holds {folder} is full. Free some space and start again.")


@contextmanager
def _explained(folder: Path) -> Generator[None]:
    try:
        yield
    except PermissionError as error:
        raise SetupError(
            f"No right to use {error.filename or folder}: it belongs to another user. "
            "Start as that user, or choose another folder."
        ) from error
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT}:
            raise _disk_full(folder) from error
        raise SetupError(f"The folder {folder} cannot be used for Postgres: {error.strerror}.") from error
