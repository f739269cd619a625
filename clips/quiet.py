"""Hours of the day in which a generator claims nothing. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Self

_FORM = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of the day to another by the machine's clock, past midnight where the second is the smaller."""

    begins: time
    ends: time

    @classmethod
    def parse(cls, text: str) -> Self:
        """`23:00-07:00`. Raises `ValueError` that says what is wrong."""
        found = _FORM.fullmatch(text.replace(" ", ""))
        if found is None:
            raise ValueError(f"{text} is no span of hours. Write it like 23:00-07:00")
        hour, minute, last_hour, last_minute = map(int, found.groups())
        begins, ends = time(hour, minute), time(last_hour, last_minute)
        if begins == ends:
            raise ValueError(f"{text} is empty. To render nothing at all, pause the generator")
        return cls(begins, ends)

    def until(self, now: datetime) -> datetime | None:
        """When the quiet hours end that `now`, a local time, lies in; None outside of them."""
        for day in (now - timedelta(days=1), now):
            begins = datetime.combine(day, self.begins, now.tzinfo)
            ends = datetime.combine(day, self.ends, now.tzinfo)
            if ends <= begins:
                ends += timedelta(days=1)
            if begins <= now < ends:
                return ends
        return None
