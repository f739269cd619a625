"""The page in a real browser, with a real discord.py application at the other end of the sandbox."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from browser import PATIENCE, chromium, hand_over, too_wide, visit
from discord_client import online, pointed_at
from page_bot import build_bot, clip, photo
from people import Person
from playwright.async_api import Browser, Locator, Page, expect

from sandbox import seed
from sandbox.server import Sandbox, running
from tests.ports import free_port

# One browser serves all of these tests, so they share an event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    photo(folder / "still.jpg")
    for number in (1, 2):
        clip(folder / f"take-{number}.mp4", start=number)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def box(tmp_path: Path) -> AsyncGenerator[Sandbox]:
    async with running(tmp_path / "world") as sandbox:
        yield sandbox


@pytest_asyncio.fixture(loop_scope="module")
async def bot(box: Sandbox, media: Path) -> AsyncGenerator[None]:
    """The application, running."""
    with pointed_at(box.address):
        async with online(build_bot(media)):
            yield


@pytest_asyncio.fixture(loop_scope="module")
async def theo(box: Sandbox) -> AsyncGenerator[Person]:
    async with aiohttp.ClientSession(box.address) as session:
        yield Person(session, seed.THEO.id)


def last(page: Page) -> Locator:
    return page.locator(".message").last


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


async def choose(page: Page, name: str) -> None:
    """Opens one more option of the command that is being filled in."""
    await page.locator(".add-option").click()
    await page.get_by_role("menuitem", name=name).click()


@pytest.mark.usefixtures("bot")
async def test_a_command_from_the_slash_to_the_clip_by_keyboard(browser: Browser, box: Sandbox, media: Path):
    async with visit(browser, box.address) as page:
        page.on("filechooser", lambda chooser: chooser.set_files(media / "still.jpg"))
        await expect(page.get_by_text("This is Zoetrope's sandbox, not Discord.")).to_be_visible()
        await page.get_by_role("link", name="animations").click()
        await expect(page.get_by_role("heading", level=2, name="#animations")).to_be_visible()
        writing = page.locator(".composer-input")
        await writing.press_sequentially("/")
        await expect(page.locator(".command-row")).to_have_count(3)
        await page.keyboard.type("my q")
        await expect(page.locator(".command-row")).to_have_text(["/my queueWhat you are waiting for"])
        await page.keyboard.press("Escape")
        await writing.fill("/nothing")
        await writing.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("No command is called /nothing")
        await writing.fill("/ani")
        await page.keyboard.press("Tab")

        await button(page, "Send").click()
        await expect(page.locator(".hint")).to_contain_text("“photo” is needed")
        await page.keyboard.press("Enter")
        await expect(page.locator(".tile")).to_contain_text("still.jpg")
        await choose(page, "motion")
        await page.keyboard.type("The clouds drift")
        await choose(page, "model")
        await page.keyboard.type("wan")
        await expect(page.get_by_role("option")).to_have_text(["Wan 2.2 TI2V-5B"])
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await choose(page, "strength")
        await page.keyboard.type("hi")
        await page.keyboard.press("Tab")
        await choose(page, "takes")
        await page.keyboard.type("9")
        await page.keyboard.press("Enter")
        await expect(page.locator(".hint")).to_have_text("“takes” has to be 1 to 4.")
        await page.keyboard.press("Backspace")
        await page.keyboard.type("2")
        await choose(page, "length")
        length = page.get_by_role("combobox", name="length")
        await expect(page.get_by_role("option")).to_have_text(["2.04 s · 111 credits", "5.04 s · 273 credits"])
        await page.keyboard.type("99")
        await expect(page.get_by_role("option")).to_have_count(0)
        await page.keyboard.press("Enter")
        await expect(page.locator(".hint")).to_have_text("“length” has to be 1 to 15.")
        await length.fill("5")
        await expect(page.get_by_role("option")).to_have_text(["5.04 s · 273 credits"])
        await page.keyboard.press("Enter")
        await expect(length).to_have_value("5.04 s · 273 credits")
        await length.click()
        await expect(page.get_by_role("option")).to_have_count(2)
        await expect(page.get_by_role("option", selected=True)).to_have_text(["5.04 s · 273 credits"])
        await page.keyboard.press("Escape")
        await page.keyboard.press("Enter")

        await expect(last(page)).to_contain_text("still.jpg: The clouds drift · wan 2.2 ti2v-5b · 2 · high · 5.04")
        await expect(last(page)).to_contain_text("Mara used /animate")
        await expect(last(page)).to_have_class(re.compile("calls"))
        await expect(last(page).locator("time[data-relative]")).to_contain_text("years ago")
        await expect(last(page).locator(".player.playing")).to_have_count(2)
        await page.wait_for_function(
            "[...document.querySelectorAll('video')].every((one) => one.muted && one.loop && one.currentTime > 0)"
        )


@pytest.mark.usefixtures("bot")
async def test_buttons_selects_forms_and_what_only_one_sees(browser: Browser, box: Sandbox, media: Path):
    async with visit(browser, box.address) as page:
        await button(page, "Try /animate").click()
        await hand_over(page, "drop", "#chat", media / "still.jpg")
        await button(page, "Send").click()
        reply = page.locator(".message").first
        first = reply.locator("video").first
        await expect(first).to_be_visible()
        await first.evaluate("(one) => { one.marked = true; }")

        await expect(button(reply, "Off")).to_be_disabled()
        await expect(reply.get_by_role("link", name="Recipe")).to_have_attribute("href", re.compile("^https://"))
        await button(reply, "Silent").click()
        await expect(button(reply, "Silent")).to_have_attribute("aria-busy", "true")
        await expect(reply.get_by_role("alert")).to_contain_text("The application did not respond")
        await button(reply, "Reroll").click()
        await expect(reply).to_contain_text("Rerolled once (edited)")
        await expect(reply.get_by_role("alert")).to_have_count(0)
        # An edit leaves what it does not change: the same clip plays on.
        assert await first.evaluate("(one) => one.marked && !one.paused")

        await button(reply, "Vary…").click()
        await page.get_by_role("option", name="Strong").click()
        await expect(last(page)).to_contain_text("Varied: Strong")
        await button(last(page), "Dismiss").click()
        await expect(page.get_by_text("Only you can see this")).to_have_count(0)

        await button(reply, "Remix…").click()
        form = page.get_by_role("dialog", name="Remix: change what moves")
        await button(form, "Submit").click()
        await expect(form.get_by_role("alert")).to_have_text(
            ["Choose something for “Model”.", "Choose something for “Strength”."]
        )
        await button(form, "Model").click()
        await page.get_by_role("option", name="LTX-Video").click()
        await form.get_by_label("high").check()
        await form.get_by_label("sky").check()
        await form.get_by_label("Motion").fill("<b>Waves</b>")
        await hand_over(page, "paste", "dialog", media / "still.jpg")
        await hand_over(page, "drop", "dialog", media / "take-1.mp4")
        for number in (1, 2):
            await hand_over(page, "paste", "dialog", media / f"take-{number}.mp4")
        await button(form, "Submit").click()
        await expect(form.get_by_role("alert")).to_have_text(["Add at most 3 files."])
        await button(form, "Remove take-2.mp4").click()
        await button(form, "Remove take-1.mp4").last.click()
        await expect(form.locator(".tile")).to_have_text([re.compile("still"), re.compile("take-1")])
        await button(form, "Submit").click()
        await expect(form).to_have_count(0)
        await expect(last(page)).to_contain_text("Remix of <b>Waves</b>, high, ['still.jpg', 'take-1.mp4']")

        await page.locator(".composer-input").press_sequentially("/my clips ")
        await page.keyboard.press("Enter")
        layout = last(page).locator(".container")
        await expect(layout).to_contain_text("Clips of the week")
        await expect(layout.get_by_role("link", name="recipe.txt")).to_be_visible()
        await layout.get_by_role("button", name="Spoiler").click()
        await button(layout, "Look at still.jpg").last.click()
        await expect(page.get_by_role("dialog", name="still.jpg")).to_be_visible()
        await page.keyboard.press("Escape")


@pytest.mark.usefixtures("bot")
async def test_members_write_answer_hand_over_and_delete(browser: Browser, box: Sandbox, theo: Person, media: Path):
    async with visit(browser, box.address) as page:
        writing = page.locator(".composer-input")
        await hand_over(page, "paste", ".composer-input", media / "still.jpg")
        await writing.fill("**Hills**, <img src=x onerror=alert(1)> ||hidden|| [x](javascript:alert(1))")
        await writing.press("Enter")
        await expect(last(page).locator("strong")).to_have_text("Hills")
        await expect(last(page).locator("img[src=x], a")).to_have_count(0)
        await expect(last(page).locator(".spoiler > span")).to_be_hidden()
        await expect(last(page).get_by_alt_text("still.jpg")).to_be_visible()

        await last(page).click(button="right", position={"x": 200, "y": 12})
        await page.get_by_role("menuitem", name="Animate").click()
        await page.get_by_label("Motion").fill("Grass sways")
        await page.keyboard.press("Enter")
        await expect(last(page)).to_contain_text("still.jpg: Grass sways")

        await page.locator(".identity").click()
        await page.get_by_role("menuitemradio", name="Juno").click()
        await expect(page.locator(".identity")).to_contain_text("Juno")
        await expect(page.locator(".message")).to_have_count(1)
        await expect(page.get_by_role("link", name="staff-only")).to_have_count(0)
        await page.locator(".message").hover()
        await button(page.locator(".message"), "Reply").click()
        await writing.fill("What a light!")
        await writing.press("Enter")
        await expect(last(page).locator(".origin")).to_contain_text("Mara")

        lobby = await theo.channel("lobby")
        for number in range(30):
            await theo.write(lobby, f"Line {number}")
        await expect(last(page)).to_contain_text("Line 29")
        await page.locator(".scroller").evaluate("(one) => { one.scrollTop = 0; }")
        await theo.write(lobby, f"<@{seed.JUNO.id}> look")
        await page.get_by_role("button", name="1 new message").click()
        await expect(last(page)).to_be_in_viewport()
        await expect(last(page)).to_have_class(re.compile("calls"))
        await theo.write(await theo.channel("photos"), "elsewhere")
        await expect(page.get_by_role("link", name="photos new messages")).to_be_visible()

        await page.reload()
        await expect(page.locator(".identity")).to_contain_text("Juno")
        mine = page.locator(".message", has_text="What a light!")
        await mine.hover()
        await button(mine, "More").click()
        await page.get_by_role("menuitem", name="Delete").click()
        await expect(mine).to_have_count(0)


async def test_the_page_outlives_the_application_and_the_server(browser: Browser, tmp_path: Path, media: Path):
    folder = tmp_path / "world"
    port = free_port()
    async with running(folder, port=port) as box:
        page_open = visit(browser, box.address, excuse="WebSocket|ERR_CONNECTION_REFUSED")
        page = await page_open.__aenter__()
        await expect(page.get_by_text("Zoetrope is not running.")).to_be_visible()
        with pointed_at(box.address):
            async with online(build_bot(media)):
                await expect(page.get_by_text("Zoetrope is not running.")).to_have_count(0)
                await expect(button(page, "Try /animate")).to_be_visible()
        await expect(page.get_by_text("Zoetrope is not running.")).to_be_visible()
    await expect(page.get_by_text("The line to the sandbox is cut.")).to_be_visible()
    async with running(folder, port=port) as box, aiohttp.ClientSession(box.address) as session:
        person = Person(session, seed.THEO.id)
        await person.write(await person.channel("lobby"), "While nobody listened")
        await expect(last(page)).to_contain_text("While nobody listened")
        await expect(page.get_by_text("The line to the sandbox is cut.")).to_have_count(0)
        await page_open.__aexit__(None, None, None)


@pytest.mark.usefixtures("bot")
async def test_a_phone(browser: Browser, box: Sandbox, theo: Person, media: Path):
    async with visit(browser, box.address, phone=True) as page:
        await button(page, "Servers and channels").tap()
        await page.get_by_role("link", name="animations").tap()
        await expect(page.locator("#places")).not_to_be_in_viewport()
        await page.get_by_role("button", name="Commands").tap()
        await page.locator(".command-row", has_text="/animate").tap()
        await page.locator("input[type=file], .drop").first.wait_for()
        await hand_over(page, "drop", "#chat", media / "still.jpg")
        await choose(page, "motion")
        await page.keyboard.type("x" * 90)
        assert await too_wide(page) == []
        await button(page, "Send").tap()
        await expect(last(page).locator(".player")).to_have_count(2)
        assert await too_wide(page) == []
        await button(last(page), "Remix…").tap()
        form = page.get_by_role("dialog")
        await expect(form.get_by_role("button", name="Submit")).to_be_in_viewport()
        assert await too_wide(page) == []
        await button(form, "Cancel").tap()

        await theo.write(await theo.channel("animations"), "W" * 300)
        await expect(last(page)).to_contain_text("WWW")
        assert await too_wide(page) == []
        await hold(last(page), until=page.get_by_role("menuitem", name="Delete"))
        await page.keyboard.press("Escape")
        await button(page, "Members").tap()
        await expect(page.get_by_role("button", name="Act as Juno")).to_be_in_viewport()
        background = await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
        await page.locator("#scrim").tap(position={"x": 10, "y": 400})
        await page.get_by_role("button", name=re.compile("dark colours")).tap()
        assert background != await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")


async def hold(element: Locator, until: Locator) -> None:
    """Rests a finger on an element until something is there."""
    finger = {"pointerType": "touch", "bubbles": True, "clientX": 150, "clientY": 500}
    await element.dispatch_event("pointerdown", finger)
    await expect(until).to_be_in_viewport()
    await element.dispatch_event("pointerup", finger)
    await expect(until).to_be_in_viewport()
