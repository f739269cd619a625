"""Where discord.py is pointed, and from where photos may come."""

from collections.abc import Iterator

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from clips.errors import SetupError
from courier.endpoint import is_photo_host, photo_hosts, point_at


@pytest.fixture(autouse=True)
def back_to_discord() -> Iterator[None]:
    yield
    point_at(None)


def test_a_local_server_takes_the_place_of_discord() -> None:
    point_at("http://127.0.0.1:8710")
    assert Route("GET", "/users/@me").url == "http://127.0.0.1:8710/api/v10/users/@me"
    assert str(DiscordWebSocket.DEFAULT_GATEWAY) == "ws://127.0.0.1:8710/gateway"


def test_without_one_it_is_discord_as_the_library_has_it() -> None:
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    point_at("https://somewhere.example/discord/")
    assert Route.BASE == "https://somewhere.example/discord/api/v10"
    assert str(DiscordWebSocket.DEFAULT_GATEWAY) == "wss://somewhere.example/discord/gateway"
    point_at(None)
    assert (base, gateway) == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8710", "ftp://127.0.0.1", "http://", "http://[half"])
def test_a_wrong_address_names_the_variable(url: str) -> None:
    with pytest.raises(SetupError, match="ZOETROPE_DISCORD_URL"):
        point_at(url)


@pytest.mark.parametrize(
    ("photo", "allowed"),
    [
        ("https://cdn.discordapp.com/attachments/1/2/a.png?ex=1", True),
        ("https://media.discordapp.net/attachments/1/2/a.png", True),
        ("http://cdn.discordapp.com/attachments/1/2/a.png", False),
        ("https://cdn.discordapp.com:8443/a.png", False),
        ("https://cdn.discordapp.com.evil.example/a.png", False),
        ("https://cdn.discordapp.com@evil.example/a.png", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("file:///etc/passwd", False),
        ("/attachments/1/2/a.png", False),
        ("http://[half", False),
    ],
)
def test_photos_come_from_discord_only(photo: str, *, allowed: bool) -> None:
    assert is_photo_host(photo, photo_hosts(None)) is allowed


def test_photos_of_a_local_server_come_from_it_only() -> None:
    hosts = photo_hosts("http://127.0.0.1:8710/")
    assert is_photo_host("http://127.0.0.1:8710/cdn/attachments/1/2/a.png", hosts)
    assert not is_photo_host("http://127.0.0.1:5432/", hosts)
    assert not is_photo_host("https://cdn.discordapp.com/attachments/1/2/a.png", hosts)
