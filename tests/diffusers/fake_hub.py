"""The part of the Hugging Face hub that a download meets, on loopback: listing, metadata, files, refusals."""

import hashlib
import json
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

Answer = tuple[int, bytes, dict[str, str]]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """`refusals` maps a repository to (status, X-Error-Code); `served` lists the files whose bytes were sent. Of the
    file `held` only the first half comes until `go`; `holding` tells that it did. `xet` maps files to their hashes in
    the folder `storage`, in which hf_xet finds them.
    """

    folder: Path
    repo: str = "somebody/tiny-wan"
    url: str = ""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    served: list[str] = field(default_factory=list[str])
    held: str = ""
    holding: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)
    xet: dict[str, str] = field(default_factory=dict[str, str])
    storage: Path | None = None

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def answer(self, path: str, *, body: bool, ranged: bool = False) -> Answer:
        """What a GET (with a body, of which it may want a part) or HEAD of this path gets."""
        path = path.removeprefix("api/models/")
        repo = "/".join(path.split("/")[:2])
        if repo != self.repo or repo in self.refusals:
            return _refusal(*self.refusals.get(repo, (HTTPStatus.NOT_FOUND, "RepoNotFound")))
        match path.removeprefix(f"{repo}/").split("/", 2):
            case ["revision", revision] if revision in {"main", COMMIT}:
                return _json({"id": repo, "sha": COMMIT, "siblings": []})
            case ["tree", *_]:
                return _json(
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": mark(name, content)}
                        for name, content in self.files().items()
                    ]
                )
            case ["resolve", revision, name] if revision in {"main", COMMIT}:
                content = self.files().get(name)
                if content is None:
                    return _refusal(HTTPStatus.NOT_FOUND, "EntryNotFound")
                if body and not ranged:
                    self.served.append(name)
                return HTTPStatus.OK, content, self._headers(name, content)
            case _:
                return _refusal(HTTPStatus.NOT_FOUND, "RevisionNotFound")

    def _headers(self, name: str, content: bytes) -> dict[str, str]:
        headers = {"ETag": f'"{mark(name, content)}"', "X-Repo-Commit": COMMIT}
        if name in self.xet:
            headers |= {"X-Xet-Hash": self.xet[name], "X-Xet-Refresh-Route": f"{self.url}/xet-token"}
        return headers

    def way_to_storage(self) -> dict[str, str]:
        """The headers by which hf_xet is told where to look."""
        expires = {"X-Xet-Access-Token": "token", "X-Xet-Token-Expiration": "4102444800"}
        return {"X-Xet-Cas-Url": f"local://{self.storage}"} | expires


def mark(name: str, content: bytes) -> str:
    """As the hub names a file: a large one by its SHA-256, a small one as git does."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _json(value: object) -> Answer:
    return HTTPStatus.OK, json.dumps(value).encode(), {"Content-Type": "application/json"}


def _refusal(status: int, code: str) -> Answer:
    return status, b"", {"X-Error-Code": code}


@contextmanager
def serving(hub: Hub) -> Generator[Hub]:
    """Serve the hub on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

        def _answer(self, *, body: bool) -> None:
            wanted = re.fullmatch(r"bytes=0-(\d+)", self.headers.get("Range", ""))
            path = urlsplit(self.path).path.strip("/")
            status, content, headers = hub.answer(path, body=body, ranged=wanted is not None)
            if path == "xet-token":
                status, content, headers = HTTPStatus.OK, b"", hub.way_to_storage()
            if wanted:
                content = content[: int(wanted[1]) + 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body and hub.held and path.endswith(hub.held) and not wanted:
                self.wfile.write(content[: len(content) // 2])
                hub.holding.set()
                hub.go.wait(60)
                content = content[len(content) // 2 :]
            if body:
                with suppress(ConnectionError):  # who asked may be gone
                    self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does, which is read at the import only."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
