"""What a model takes from other repositories than its own, as entries of the catalogue."""

from clips.entries import Entry


class Lora(Entry):
    """Low-rank weights, merged into one component of the model when it is loaded. `file` is a path in `repo`."""

    repo: str
    file: str
    revision: str | None = None
    into: str = "transformer"
    strength: float = 1.0


class Part(Entry):
    """A component that comes from another repository than the model's own. `folder` is the one in it."""

    repo: str
    folder: str = ""
    revision: str | None = None
