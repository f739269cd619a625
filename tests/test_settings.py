"""Settings as a host writes them: what is left empty in a file of variables is not set."""

import pytest

from clips.errors import SetupError
from clips.settings import Settings


def test_a_variable_left_empty_is_not_set(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISCORD_TOKEN", "REPLICATE_API_TOKEN", "ZOETROPE_WEBHOOK_URL", "ZOETROPE_LEASE_SECONDS"):
        monkeypatch.setenv(name, "")
    settings = Settings.load()
    assert (settings.discord_token, settings.replicate_api_token, settings.webhook_url) == (None, None, None)
    assert settings.lease_seconds == 30


def test_a_wrong_one_is_named_and_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOETROPE_WEBHOOK_URL", "http://zoe.example")
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
    with pytest.raises(SetupError, match=r"^ZOETROPE_WEBHOOK_URL: ") as refused:
        Settings.load()
    assert "r8_secret" not in str(refused.value)
    monkeypatch.delenv("ZOETROPE_WEBHOOK_URL")
    assert "r8_secret" not in repr(Settings.load())


def test_a_sentence_of_ours_stands_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOETROPE_QUIET_HOURS", "23-7")
    with pytest.raises(SetupError, match=r"^ZOETROPE_QUIET_HOURS: 23-7 is no span of hours"):
        Settings.load()
