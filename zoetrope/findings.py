"""What the doctor says of one thing that it looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome. `fix` is empty exactly where all is well."""

    check: str
    found: str
    fix: str = ""
