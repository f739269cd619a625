"""`zoetrope doctor --hosted` as a host runs it: against a folder, and against the provider on loopback."""

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr
from typer.testing import CliRunner

from clips.errors import SetupError
from clips.settings import Settings
from zoetrope.cli import app
from zoetrope.findings import Finding
from zoetrope.hosted import examine_hosted

SCHEMAS = Path(__file__).parent / "schemas"
KEY = "r8_secret"


class Provider:
    """The provider's pages of models: those recorded, and nothing else."""

    def __init__(self) -> None:
        pages = [json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")]
        self.pages = {f"{page['owner']}/{page['name']}": page for page in pages}
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"title": "Unauthenticated"}, status=401)
        self.asked.append(request.path)
        slug, _, version = request.path.removeprefix("/v1/models/").partition("/versions/")
        page = self.pages.get(slug)
        if page is None:
            return web.json_response({"detail": "Not found."}, status=404)
        return web.json_response({**page["latest_version"], "id": version} if version else page)


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/{any:.*}", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield provider
    await runner.cleanup()


async def findings(provider: Provider, key: str = KEY) -> dict[str, Finding]:
    settings = Settings(replicate_url=provider.url, replicate_api_token=SecretStr(key))
    return {finding.check: finding async for finding in examine_hosted(settings, None)}


def test_recorded_schemas_are_compared_without_asking_anybody():
    done = CliRunner().invoke(app, ["doctor", "--schemas", str(SCHEMAS)], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert re.search(r"✓ +wan-2\.7-i2v", done.output)
    assert "is as the schema of wan-video/wan-2.7-i2v says" in done.output
    assert "no schema of bytedance/seedance-1-pro is recorded there" in done.output
    assert "prices" in done.output


def test_a_drift_makes_the_doctor_unhappy(tmp_path: Path):
    page = json.loads((SCHEMAS / "p-video.json").read_text())
    page["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["required"].append("image")
    (tmp_path / "p-video.json").write_text(json.dumps(page))
    done = CliRunner().invoke(app, ["doctor", "--hosted", "--schemas", str(tmp_path)], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert re.search(r"✗ +p-video", done.output)
    assert "Give image a default in the entry." in done.output


def test_a_folder_without_schemas_is_told(tmp_path: Path):
    done = CliRunner().invoke(app, ["doctor", "--hosted", "--schemas", str(tmp_path)])
    assert isinstance(done.exception, SetupError)
    assert str(done.exception).startswith(f"There is no recorded schema in {tmp_path}: save answers")


async def test_the_live_schemas_are_those_of_the_versions_that_run(provider: Provider):
    newest = provider.pages["zsxkib/mmaudio"]["latest_version"] | {"id": "ab12cd34" + "0" * 56}
    provider.pages["zsxkib/mmaudio"]["latest_version"] = newest
    found = await findings(provider)
    assert found["mmaudio"] == Finding("mmaudio", "is as the schema of zsxkib/mmaudio says")
    assert any(path.startswith("/v1/models/zsxkib/mmaudio/versions/62871fb5") for path in provider.asked)
    assert found["seedance-1-pro"].fix == "Replicate shows no such model (Not found.). Correct its slug and version."


async def test_a_refused_key_is_told_and_not_repeated(provider: Provider):
    found = await findings(provider, "r8_wrong")
    assert found["p-video"].fix.startswith("Replicate refuses the key in REPLICATE_API_TOKEN")
    assert "r8_wrong" not in str(found)


async def test_without_a_key_recorded_schemas_are_offered():
    with pytest.raises(SetupError, match="or compare recorded ones with --schemas"):
        _ = [finding async for finding in examine_hosted(Settings(replicate_api_token=None), None)]
