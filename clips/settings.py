"""Every setting, read once from the environment into one frozen object. The README's table is made from this class."""

from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clips.catalog import Catalog, Model, Placement, Speed, instead_of
from clips.entries import PREFIX
from clips.errors import SetupError
from clips.quiet import QuietHours


class Settings(BaseSettings):
    """What the host decides. Each field's description is what the README says of it."""

    model_config = SettingsConfigDict(
        env_prefix="ZOETROPE_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    discord_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DISCORD_TOKEN", "discord_token"),
        description="The bot's token. A generator without one renders and leaves posting to others.",
    )
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="A Postgres 15 or newer, `postgresql://user:password@host/name`. Unset: a server of our own.",
    )
    listen_url: str | None = Field(
        default=None,
        description="A direct address for notices where `DATABASE_URL` goes through PgBouncer, which drops them.",
    )
    home: Path = Field(
        default=Path(".zoetrope"),
        description="The folder for what has no address of its own: the database, the blobs, the sandbox's world.",
    )
    blobs: str | None = Field(
        default=None,
        description="Where photos and clips lie: a folder, `s3://…`, `gs://…` or `az://…`. Unset: `blobs` in the home.",
    )
    discord_url: str | None = Field(
        default=None,
        description="A local server in Discord's place, such as the sandbox's address. Unset: Discord itself.",
    )
    catalog: Path | None = Field(
        default=None, description="The host's own catalogue file, read after the built-in one."
    )
    models: str = Field(
        default="sketch",
        description="Models that a generator runs, by catalogue name, separated by commas. `replicate`: all of those.",
    )
    replicate_api_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REPLICATE_API_TOKEN", "replicate_api_token"),
        description="The key of the host's account at Replicate, for a generator that runs its models.",
    )
    replicate_url: str = Field(
        default="https://api.replicate.com", description="Where Replicate's API is; a server of your own for tests."
    )
    webhook_url: str | None = Field(
        default=None,
        pattern="^https://[^/]+",
        description="A public address of a generator, `https://…`, for Replicate to tell when a job is done. Optional.",
    )
    webhook_listen: str | None = Field(
        default=None,
        description="Where this generator receives what comes there, `127.0.0.1:8090`. One of several is enough.",
    )
    replicate_webhook_secret: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REPLICATE_WEBHOOK_SECRET", "replicate_webhook_secret"),
        description="What Replicate signs with, `whsec_…`, for the generator that receives it.",
    )
    hosted_at_once: int = Field(
        default=8, ge=1, le=200, description="Takes that one generator has rendered at a provider at the same time."
    )
    device: str = Field(
        default="auto",
        description="Where diffusers models run: `cuda`, `cuda:1`, `cpu`; `auto` takes a GPU if there is one.",
    )
    speed: Speed = Field(
        default=Speed.BALANCED,
        description="How a GPU trades exactness for time: `exact` (plain diffusers to the bit), `balanced` or `fast`.",
    )
    memory: str = Field(
        default="",
        description="How models share GPU and RAM where not as fits best: `name=placement`, separated by commas. "
        "Placements: `whole`, `evicted`, `offloaded`, `grouped`, `fp8`, `quantised`.",
    )
    quiet_hours: str = Field(
        default="",
        description="Hours in which a generator claims nothing, by its machine's clock: `23:00-07:00`.",
    )
    lease_seconds: float = Field(
        default=30.0, gt=0, le=600, description="Silence after which a generator counts as dead and its take goes on."
    )
    stop_seconds: float = Field(
        default=20.0, ge=0, le=3600, description="How long a stopping generator may still finish before it gives back."
    )
    stall_seconds: float = Field(
        default=600.0, gt=0, description="A generator whose engine shows no progress for so long ends itself."
    )
    attachment_limit: int = Field(
        default=10 * 1024 * 1024,
        gt=0,
        description="Largest file in bytes to post where Discord does not say more. Larger clips get a smaller copy.",
    )
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="How much is logged.")
    kill_at: str | None = Field(
        default=None, description="For crash tests: the checkpoint at which the process kills itself."
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises `SetupError` that names each wrong variable and what is wrong with it."""
        try:
            return cls()
        except ValidationError as error:
            raise SetupError("; ".join(_complaint(cls, item["loc"], item["msg"]) for item in error.errors())) from None

    @property
    def blobs_url(self) -> str:
        """The blob store's address; a bare path means a folder."""
        return self.blobs or str(self.home / "blobs")

    @property
    def model_names(self) -> list[str]:
        return [name for name in (part.strip() for part in self.models.split(",")) if name]

    @property
    def quiet(self) -> QuietHours | None:
        return QuietHours.parse(self.quiet_hours) if self.quiet_hours.strip() else None

    @field_validator("quiet_hours")
    @classmethod
    def _span_of_hours(cls, hours: str) -> str:
        if hours.strip():
            QuietHours.parse(hours)
        return hours

    @property
    def placements(self) -> dict[str, Placement]:
        """The placements that the host chose, by the model's name."""
        return {name: Placement(placement) for name, placement in _pairs(self.memory)}

    def placed(self, model: Model, catalog: Catalog) -> Model:
        """An entry of the catalogue with the placement that the host chose. `SetupError` where one is chosen for a
        model that there is not; one that is not to run here is another process's.
        """
        for name in self.placements:
            if catalog.get(name) is None:
                instead = instead_of(name, [known.name for known in catalog])
                raise SetupError(f"ZOETROPE_MEMORY: there is no model {name}. {instead}")
        return model.model_copy(update={"memory": self.placements.get(model.name, model.memory)})

    @field_validator("memory")
    @classmethod
    def _known_placements(cls, memory: str) -> str:
        known = ", ".join(Placement)
        for name, placement in _pairs(memory):
            if placement not in set(Placement):
                raise ValueError(f"{name}={placement} names no placement. There are: {known}.")
        return memory

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        alias = cls.model_fields[field].validation_alias
        return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"ZOETROPE_{field.upper()}"


def _pairs(text: str) -> list[tuple[str, str]]:
    """`a=b, c=d` as pairs."""
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _complaint(settings: type[Settings], location: tuple[int | str, ...], message: str) -> str:
    field = str(location[0]) if location else ""
    name = settings.variable(field) if field in settings.model_fields else field
    return f"{name}: {message.removeprefix(PREFIX)}"
