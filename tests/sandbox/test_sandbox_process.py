"""`python -m sandbox`: starts and ends in one sentence, loses nothing to a kill, answers only this machine."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from discord_schema import check_exchanges, exchanges_in
from people import Person, Rest, multipart, option

from sandbox import seed
from sandbox.server import Sandbox

Json = dict[str, Any]


@contextlib.asynccontextmanager
async def started(folder: Path, *more: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    """The process and its address; it is killed if it still runs after the block."""
    arguments = ("-m", "sandbox", "--port", "0", "--data", str(folder), *more)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line.startswith("sandbox: http://127.0.0.1:")
        yield process, line.removeprefix("sandbox: ").strip().rstrip("/")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_killed_sandbox_comes_back_with_everything(tmp_path: Path):
    record = tmp_path / "record.jsonl"
    go = {"name": "go", "description": "Goes.", "options": [
        {"name": "photo", "description": "What.", "type": 11}]}  # fmt: skip
    async with started(tmp_path / "world", "--record", str(record)) as (process, address):
        async with aiohttp.ClientSession(address) as session, session.ws_connect("/gateway") as gateway:
            rest, juno = Rest(session), Person(session, seed.JUNO.id)
            lobby = await juno.channel("lobby")
            _, synced = await rest("PUT", f"/applications/{seed.APP.id}/commands", [go])
            await gateway.send_json({"op": 2, "d": {"token": "sandbox", "intents": 1}})
            photo = await juno.upload(b"photo", "a.png")
            interaction = await juno.use(lobby, "go", option("photo", 11, photo))
            while (heard := await gateway.receive_json(timeout=30))["t"] != "INTERACTION_CREATE":
                pass
            token = heard["d"]["token"]
            await rest("POST", f"/interactions/{interaction}/{token}/callback", {"type": 5, "data": {"flags": 64}})
            form = multipart({"content": "clip", "nonce": "n-1", "enforce_nonce": True}, ("clip.mp4", b"frames"))
            _, sent = await rest("POST", f"/channels/{lobby}/messages", form)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async with started(tmp_path / "world", "--record", str(record)) as (process, address):
        async with aiohttp.ClientSession(address) as session:
            rest, juno = Rest(session), Person(session, seed.JUNO.id)
            thinking, clip = await juno.messages(lobby)
            assert (clip["id"], thinking["flags"]) == (sent["id"], 64 | 128)
            async with session.get(clip["attachments"][0]["url"]) as response:
                assert await response.read() == b"frames"
            again = sent["attachments"][0]["url"].partition("/cdn/")[2]
            async with session.get(f"/cdn/{again}") as response:
                assert response.status == 200
            assert (await rest("GET", f"/applications/{seed.APP.id}/commands"))[1] == synced
            path = f"/webhooks/{seed.APP.id}/{token}/messages/@original"
            assert (await rest("PATCH", path, {"content": "done"}))[1]["id"] == thinking["id"]
            form = multipart({"content": "clip", "nonce": "n-1", "enforce_nonce": True}, ("clip.mp4", b"frames"))
            _, repeated = await rest("POST", f"/channels/{lobby}/messages", form)
            assert repeated["id"] == sent["id"]
            assert int((await juno.write(lobby, "later"))["id"]) > int(sent["id"])
            assert len(await juno.messages(lobby)) == 3
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    exchanges = exchanges_in(record)
    assert [one.method for one in exchanges] == ["PUT", "POST", "POST", "GET", "PATCH", "POST"]
    assert exchanges[2].request == {"content": "clip", "nonce": "n-1", "enforce_nonce": True}
    check_exchanges(exchanges)


async def test_a_goodbye_is_clean_with_pages_and_bots_connected(tmp_path: Path):
    async with started(tmp_path) as (process, address), aiohttp.ClientSession(address) as session:
        async with (
            session.ws_connect("/gateway") as gateway,
            session.ws_connect(f"/member/events?as={seed.JUNO.id}") as page,
        ):
            process.send_signal(signal.SIGINT)
            assert (await gateway.receive(timeout=30)).type is aiohttp.WSMsgType.TEXT
            assert (await gateway.receive(timeout=30)).data == 1001
            assert (await page.receive(timeout=30)).data == 1001
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_what_cannot_start_says_why_in_a_sentence(tmp_path: Path):
    def refused(*arguments: str) -> str:
        command = [sys.executable, "-m", "sandbox", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    (tmp_path / "file").touch()
    async with started(tmp_path / "world") as (_, address):
        port = address.rpartition(":")[2]
        taken = refused("--port", port, "--data", str(tmp_path / "other"))
        assert taken == f"Port {port} is taken. Choose another one with --port, or stop what listens there.\n"
        in_use = refused("--port", "0", "--data", str(tmp_path / "world"))
        assert in_use.startswith("Another sandbox works in") and in_use.count("\n") == 1
    nowhere = refused("--port", "0", "--data", str(tmp_path / "file"))
    assert nowhere.startswith(f"The folder {tmp_path}/file cannot be used: ") and nowhere.count("\n") == 1


async def test_it_ends_when_its_parent_dies(tmp_path: Path):
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--data", str(tmp_path), "--with-parent"]
    script = f"import subprocess; p = subprocess.Popen({command!r}); print(p.pid, flush=True); p.wait()"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    child = int((await asyncio.wait_for(parent.stdout.readline(), 60)).decode())
    assert (await asyncio.wait_for(parent.stdout.readline(), 60)).startswith(b"sandbox: ")
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(30):
        while _runs(child):  # noqa: ASYNC110 - nothing tells of a stranger's end
            await asyncio.sleep(0.05)


def _runs(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # an orphan that ended stays in the table until its new parent looks


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
async def test_only_this_machine_is_answered(session: aiohttp.ClientSession, headers: Json, status: int):
    for path in (f"/member/world?as={seed.JUNO.id}", "/control/routes"):
        async with session.get(path, headers=headers) as response:
            assert response.status == status


async def test_the_servers_own_page_may_post(session: aiohttp.ClientSession, juno: Person, lobby: str, box: Sandbox):
    body = {"channel_id": lobby, "content": "from the page"}
    path, headers = f"/member/messages?as={juno.id}", {"Origin": box.address}
    async with session.post(path, json=body, headers=headers) as response:
        assert response.status == 200
    async with session.get("/") as response:
        assert response.headers["Cache-Control"] == "no-cache"


async def test_what_was_answered_before_a_kill_is_there_after_it(tmp_path: Path):
    answered = list[str]()
    async with started(tmp_path) as (process, address):
        async with aiohttp.ClientSession(address) as session:
            rest = Rest(session)
            lobby = await Person(session, seed.JUNO.id).channel("lobby")

            async def send_on() -> None:
                with contextlib.suppress(aiohttp.ClientError):
                    while True:
                        status, sent = await rest("POST", f"/channels/{lobby}/messages", multipart({}, ("a", b"x")))
                        answered.extend([sent["id"]] if status == 200 else [])

            senders = [asyncio.create_task(send_on()) for _ in range(4)]
            while len(answered) < 20:  # noqa: ASYNC110 - the kill comes in the middle of many
                await asyncio.sleep(0.01)
            process.kill()
            await asyncio.gather(*senders)
        await process.wait()
    async with started(tmp_path) as (_, address), aiohttp.ClientSession(address) as session:
        juno = Person(session, seed.JUNO.id)
        newest = await juno.ask("GET", f"/channels/{lobby}/messages", params={"limit": "100"})
        kept = {one["id"]: one for one in newest}
        assert not {*answered[-50:]} - {*kept}
        for one in answered[-3:]:
            async with session.get(kept[one]["attachments"][0]["url"]) as response:
                assert await response.read() == b"x"
