"""Where Discord is: itself, or a local server in its place. Nothing happens until `point_at` is called."""

from discord.gateway import DiscordWebSocket
from discord.http import INTERNAL_API_VERSION, Route
from yarl import URL

from clips.errors import SetupError

_DISCORD = URL("https://discord.com")
_GATEWAY = URL("wss://gateway.discord.gg/")
_CDN = frozenset({URL("https://cdn.discordapp.com"), URL("https://media.discordapp.net")})


def point_at(url: str | None) -> None:
    """Have every discord.py client of this process talk to a local server; None: to Discord itself.

    The server has its REST under `/api/v10` and announces its gateway there. The gateway must lie at `/gateway`:
    discord.py goes back to a fixed address after an invalidated session. Raises `SetupError` for a wrong address.
    """
    # Both are read at each request and each connection, so this also reaches clients that exist already.
    place = _DISCORD if url is None else _local(url)
    Route.BASE = str(place / f"api/v{INTERNAL_API_VERSION}")
    DiscordWebSocket.DEFAULT_GATEWAY = (
        _GATEWAY if url is None else (place / "gateway").with_scheme("wss" if place.scheme == "https" else "ws")
    )


def photo_hosts(url: str | None) -> frozenset[URL]:
    """The origins (scheme, host and port) that photos may be fetched from."""
    return _CDN if url is None else frozenset({_local(url).origin()})


def is_photo_host(photo: str, hosts: frozenset[URL]) -> bool:
    """Does a photo's address lie on one of these origins?"""
    try:
        return URL(photo).origin() in hosts
    except ValueError:  # relative, without a host, or no address at all
        return False


def _local(url: str) -> URL:
    try:
        place = URL(url)
        usable = place.scheme in {"http", "https"} and bool(place.host)
    except ValueError:
        usable = False
        place = URL()
    if not usable:
        raise SetupError(
            f"ZOETROPE_DISCORD_URL: {url!r} is not the address of a server. Write it as http://127.0.0.1:8710, "
            "or leave it out to use Discord itself."
        )
    return place.with_query(None).with_fragment(None)
