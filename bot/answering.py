"""The ephemeral answer of an intake, in the place of “thinking…”: what is about to be made, then what came of it."""

import asyncio
import logging
from typing import Any

import aiohttp
import discord
from discord.utils import MISSING
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from clips.intakes import Intake
from courier.message import MOST_CHARACTERS
from courier.wording import cut

_log = logging.getLogger(__name__)
_FIRST = 1.5
"""Seconds that the first word may take, from its beginning on. Nothing waits for it longer."""
_ASTRAY = 5.0
"""Seconds after which a word whose way we stopped watching has arrived, if it ever does."""


class Answer:
    """What one interaction is answered. The last word always stands: a first one that went astray is said over."""

    def __init__(self, client: discord.Client, opened: Intake) -> None:
        self._client = client
        self._opened = opened
        self._first: asyncio.Task[None] | None = None
        self._astray = False

    def foretell(self, text: str) -> None:
        """Begin to say what will be made. It may fail: the last word tells everything."""
        self._first = asyncio.create_task(self._foretell(text))

    async def foretold(self) -> None:
        """Wait until that is said, or has taken too long."""
        if self._first is not None:
            await asyncio.wait([self._first])
            self._first = None

    async def say(self, text: str, view: discord.ui.View | None = None) -> bool:
        """The last word, with these buttons; MISSING leaves those that are there. Said twice, it stands there once.

        A dead token is no fault. False: the network is away, and it may be worth another attempt.
        """
        await self.foretold()
        try:
            await self._put(text, view)
        except discord.HTTPException as error:
            _log.info("the answer to interaction %d was not taken: %s", self._opened.interaction_id, error)
        except (aiohttp.ClientError, OSError) as error:
            _log.warning("interaction %d could not be answered: %s", self._opened.interaction_id, error)
            return False
        return True

    async def insist(self, text: str, view: discord.ui.View | None = None) -> None:
        """Say the last word once more where the first one may have come after it."""
        if self._astray:
            await asyncio.sleep(_ASTRAY)
            await self.say(text, view)

    async def _foretell(self, text: str) -> None:
        # A lock of its own: a request that is cut short while it keeps a rate limit never gives the library's back.
        async_context.set(AsyncWebhookAdapter())
        try:
            async with asyncio.timeout(_FIRST):
                await self._put(text, MISSING)
        except discord.HTTPException as error:
            _log.debug("interaction %d was not told beforehand: %s", self._opened.interaction_id, error)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._astray = True
            _log.debug("interaction %d may be told late: %s", self._opened.interaction_id, error)

    async def _put(self, text: str, view: discord.ui.View | None) -> None:
        token, application_id = self._opened.token, self._client.application_id
        if token is None or application_id is None:
            return
        webhook = discord.Webhook.partial(application_id, token, client=self._client)
        original: Any = "@original"  # the library's types know only numbers here; Discord knows this name
        await webhook.edit_message(original, content=cut(text, MOST_CHARACTERS), view=view)
