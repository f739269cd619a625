"""Where a model runs that the host serves on machines of their own: data of the catalogue, checked when it is read."""

from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from clips.entries import Entry

HONOURED = frozenset({"motion", "avoid", "camera", "strength", "seed"})
"""What a model on such a server can accept: all that it can be told is words and a seed."""


class Dialect(StrEnum):
    """Which program serves `/v1/videos`: they differ in how a size is named and in what they tell while they render."""

    SGLANG = "sglang"
    VLLM_OMNI = "vllm-omni"
    FASTVIDEO = "fastvideo"


class Server(Entry):
    """A server of one model, on the host's own machines: its address can be private, its renders cost nothing."""

    url: str
    """`http://host:port`, without the `/v1`."""
    dialect: Dialect
    served_model: str | None = None
    """The name that the server gave its model, where requests have to say it."""
    key_variable: str | None = Field(default=None, pattern="^[A-Z][A-Z0-9_]*$")
    """The environment variable that holds the server's key, where it asks for one."""

    at_once: int = Field(default=1, ge=1, le=64)
    """How many takes it is given at the same time: more than one where it batches them or has several replicas."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be http://host:port or https://host")
        if parts.username or parts.password:
            raise ValueError("must not hold a password: name the variable of the key in key_variable")
        return url.rstrip("/").removesuffix("/v1")
