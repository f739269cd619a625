"""Addresses of attachments: signed, and dead after a day, as on Discord's file servers."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from urllib.parse import quote

from sandbox.records import Attachment
from sandbox.store import Store


class Signer:
    """Makes and checks attachment addresses. The key is kept, so that addresses outlive a restart."""

    def __init__(self, store: Store, clock: Callable[[], float], lifetime: float) -> None:
        self._store = store
        self._clock = clock
        self._lifetime = lifetime
        self._key = store.setting("attachment key") or self.expire_all()

    def expire_all(self) -> str:
        """Changes the key: no address that was given out so far opens anything."""
        self._key = secrets.token_hex(32)
        self._store.set("attachment key", self._key)
        return self._key

    def path(self, attachment: Attachment) -> str:
        """The path and query of an attachment, good for the lifetime from now."""
        issued = int(self._clock())
        expires = int(issued + self._lifetime)
        path = f"/cdn/attachments/{attachment.channel_id}/{attachment.id}/{quote(attachment.filename)}"
        signature = self._sign(attachment.channel_id, attachment.id, expires, issued)
        return f"{path}?ex={expires:x}&is={issued:x}&hm={signature}"

    def valid(self, channel_id: int, attachment_id: int, expires: str, issued: str, signature: str) -> bool:
        """Whether an address is one that was given out and has not expired. The three texts are `ex`, `is`, `hm`."""
        try:
            until, since = int(expires, 16), int(issued, 16)
        except ValueError:
            return False
        expected = self._sign(channel_id, attachment_id, until, since)
        return self._clock() < until and hmac.compare_digest(expected.encode(), signature.encode())

    def _sign(self, channel_id: int, attachment_id: int, expires: int, issued: int) -> str:
        text = f"{channel_id}/{attachment_id}/{expires:x}/{issued:x}"
        return hmac.new(self._key.encode(), text.encode(), hashlib.sha256).hexdigest()
