"""What every table of the catalogue is: fixed once read, and without a field that nobody reads."""

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """A table of a catalogue file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
