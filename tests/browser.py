"""A headless Chromium, and pages of the sandbox in it that must not complain."""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

_PLACES = (
    "/usr/bin/chromium",
    shutil.which("chromium"),
    shutil.which("chromium-browser"),
    shutil.which("google-chrome"),
)
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000
"""Milliseconds that one step may take on a busy machine."""


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """A browser of the test's own; skips the test where none is installed."""
    place = next((one for one in _PLACES if one and shutil.which(one)), None)
    if place is None:
        pytest.skip("no Chromium on this machine: install one to test the page in a browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=place, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visit(browser: Browser, address: str, *, phone: bool = False, excuse: str = "$^") -> AsyncGenerator[Page]:
    """The page on a desktop or a phone. After the block: no complaint in the console but those that `excuse` matches.

    `address` is where to begin.
    """
    context: BrowserContext = await browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 800},
        color_scheme="light" if phone else "dark",
        has_touch=phone,
        is_mobile=phone,
    )
    try:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(address)
        yield page
        assert [one for one in complaints if not re.search(excuse, one)] == []
    finally:
        await context.close()


async def too_wide(page: Page) -> list[str]:
    """What reaches beyond the window sideways, by its class; nothing where all fits."""
    return await page.evaluate(
        """() => document.scrollingElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]
            .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
            .map((one) => one.className || one.tagName)"""
    )


async def hand_over(page: Page, kind: str, selector: str, file: Path) -> None:
    """Drops or pastes (`kind` is the event's name) a file onto an element."""
    script = """([selector, kind, name, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }));
        const shared = { bubbles: true, cancelable: true };
        const event = kind === 'paste'
            ? new ClipboardEvent(kind, { ...shared, clipboardData: transfer })
            : new DragEvent(kind, { ...shared, dataTransfer: transfer });
        document.querySelector(selector).dispatchEvent(event);
    }"""
    content = await asyncio.to_thread(file.read_bytes)
    await page.evaluate(script, [selector, kind, file.name, [*content]])
