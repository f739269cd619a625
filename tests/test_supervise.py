"""Real child processes: started, watched, stopped in order, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest
from processes import children, program

from clips.errors import SetupError
from zoetrope.supervise import Child, ChildEndedError, supervised

PROJECT = Path(__file__).parents[1]

# Says when it is ready and when it ends; notes both in a common file, so that the order shows.
POLITE = """
import signal, sys, time
name, notes = sys.argv[1:]
def end(*_):
    open(notes, "a").write(name + " ended\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(notes, "a").write(name + " started\\n")
print("ready")
while True:
    time.sleep(0.05)
"""
# Ends once there is a file.
DYING = """
import pathlib, sys, time
print("ready")
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.02)
print("the port is taken")
sys.exit(3)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready")
time.sleep(60)
"""
# Starts a process of its own, tells its id, and ends without a thought for it.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "60"])
print("child", child.pid)
print("ready")
time.sleep(60)
"""


def python(name: str, code: str, *arguments: object, **options: object) -> Child:
    return Child(name, [sys.executable, "-c", code, *map(str, arguments)], **{"ready": "ready", **options})  # type: ignore[arg-type]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_ended(pid: int) -> None:
    async with asyncio.timeout(20):
        while runs(pid):  # noqa: ASYNC110 - a stranger's process has no event
            await asyncio.sleep(0.02)


async def test_children_end_in_the_reverse_order_of_their_start(tmp_path: Path):
    notes = tmp_path / "notes"
    async with supervised(tmp_path / "logs") as children:
        for name in ("sandbox", "bot", "generator"):
            await children.start(python(name, POLITE, name, notes))
        assert await children.guard(asyncio.sleep(0.2, "done")) == "done"
    assert notes.read_text().split("\n")[:-1] == [
        *("sandbox started", "bot started", "generator started"),
        *("generator ended", "bot ended", "sandbox ended"),
    ]


async def test_a_death_ends_everything_and_is_told_with_the_last_lines(tmp_path: Path):
    notes, end = tmp_path / "notes", tmp_path / "end"
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            end.touch()
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def demo() -> None:
        async with supervised(tmp_path / "logs") as children:
            await children.start(python("bot", POLITE, "bot", notes))
            await children.start(python("generator", DYING, end))
            await children.guard(work())

    with pytest.raises(ChildEndedError) as told:
        await demo()
    assert str(told.value) == (
        f"The generator ended with exit code 3. Its log, {tmp_path}/logs/generator.log, ends with:\n"
        "    ready\n    the port is taken"
    )
    assert cancelled.is_set()
    assert notes.read_text() == "bot started\nbot ended\n"


async def test_a_killed_child_is_told_as_such(tmp_path: Path):
    async with supervised(tmp_path) as children:
        await children.start(Child("bot", ["sh", "-c", "kill -9 $$"]))
        with pytest.raises(ChildEndedError, match=r"The bot was ended by SIGKILL\. Its log, .*bot\.log, is empty"):
            await children.guard(asyncio.sleep(10))


async def test_a_child_that_ends_before_it_is_ready(tmp_path: Path):
    with pytest.raises(
        ChildEndedError, match=r"(?s)The bot ended with exit code 1\. .*no_such_program cannot be run: No"
    ):
        async with supervised(tmp_path) as children:
            await children.start(Child("bot", ["no_such_program"], ready="ready"))


async def test_a_child_that_is_never_ready(tmp_path: Path):
    with pytest.raises(ChildEndedError, match=r"The bot was not ready within 0 s\. "):
        async with supervised(tmp_path) as children:
            await children.start(Child("bot", ["sleep", "60"], ready="ready", ready_bound=0.3))


async def test_readiness_may_be_asked_for_and_earlier_logs_do_not_count(tmp_path: Path):
    (tmp_path / "bot.log").write_text("ready\n")
    asked = 0

    async def answer() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    async with supervised(tmp_path) as children:
        await children.start(Child("bot", ["sleep", "60"], ready=answer))
        assert asked == 3
        again = Child("bot", ["sleep", "60"], ready="ready", ready_bound=0.2)
        with pytest.raises(ChildEndedError, match="not ready"):
            await children.start(again)


async def test_the_environment_is_added_to_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OURS", "one")
    async with supervised(tmp_path) as children:
        show = "import os, time; print(os.environ['OURS'], os.environ['THEIRS']); time.sleep(60)"
        await children.start(python("bot", show, environment={"THEIRS": "two"}, ready="one two"))


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path):
    started = monotonic()
    async with supervised(tmp_path) as children:
        await children.start(python("generator", STUBBORN, stop_bound=0.3))
    assert monotonic() - started < 20, "its own bound, and not that of others"


async def test_grandchildren_go_too(tmp_path: Path):
    async with supervised(tmp_path) as children:
        await children.start(python("generator", PARENT))
        grandchild = int((tmp_path / "generator.log").read_text().split()[1])
        assert runs(grandchild)
    await until_ended(grandchild)


async def test_an_impatient_cancellation_still_leaves_nothing(tmp_path: Path):
    started = asyncio.Queue[int]()

    async def demo() -> None:
        async with supervised(tmp_path) as children:
            await children.start(python("generator", STUBBORN, stop_bound=60))
            started.put_nowait(*children.pids)
            await children.guard(asyncio.sleep(60))

    task = asyncio.create_task(demo())
    pid = await started.get()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.2)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(pid)


async def test_a_folder_for_logs_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "logs").write_text("")
    with pytest.raises(SetupError, match=r"The folder for logs, .*, cannot be made: File exists\."):
        async with supervised(tmp_path / "logs"):
            pass


DEMO = """
import asyncio, sys
from pathlib import Path
from zoetrope.supervise import Child, supervised
async def demo():
    async with supervised(Path(sys.argv[1])) as children:
        for name in ("bot", "generator"):
            await children.start(Child(name, ["sleep", "61"]))
        print("up", flush=True)
        await children.guard(asyncio.Event().wait())
try:
    asyncio.run(demo())
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_nothing_is_left_however_the_parent_ends(tmp_path: Path, end: signal.Signals):
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DEMO, str(tmp_path)), cwd=PROJECT, stdout=subprocess.PIPE
    )
    assert demo.stdout
    assert await demo.stdout.readline() == b"up\n"
    started = children(demo.pid)
    assert len(started) == 2 and all(os.getsid(pid) == pid for pid in started)
    async with asyncio.timeout(20):
        while any(program(pid) != "sleep" for pid in started):  # noqa: ASYNC110 - a stranger's process has no event
            await asyncio.sleep(0.02)
    demo.send_signal(end)
    said, _ = await demo.communicate()
    assert said == (b"stopped\n" if end is signal.SIGINT else b"")
    for pid in started:
        await until_ended(pid)
