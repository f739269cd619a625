"""An unmodified discord.py against the sandbox: a bot like ours, from sync to buttons that outlive it."""

import asyncio
import io
import re
from typing import Any, Self

import discord
import pytest
from discord import app_commands, ui
from discord.ext import commands
from discord_client import online
from people import Controls, Person, option

from sandbox import seed
from sandbox.server import Sandbox

Json = dict[str, Any]
pytestmark = pytest.mark.usefixtures("at_sandbox")


class Reroll(ui.DynamicItem[ui.Button[ui.View]], template=r"reroll:(?P<job>\d+)"):
    """A button whose job is in its id: any later process can answer it."""

    def __init__(self, job: int) -> None:
        super().__init__(ui.Button(label="Reroll", custom_id=f"reroll:{job}"))
        self.job = job

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction, __: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(int(match["job"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        assert interaction.message is not None and interaction.message.components
        await interaction.response.edit_message(content=f"rerolled {self.job}")


class Remix(ui.Modal, title="Remix"):
    """A modal with a text and an upload, each in a label."""

    motion = ui.Label(text="Motion", component=ui.TextInput(required=True))
    photo = ui.Label(text="Photo", component=ui.FileUpload(required=False, max_values=1))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        assert isinstance(self.motion.component, ui.TextInput)
        assert isinstance(self.photo.component, ui.FileUpload)
        sizes = [len(await each.read()) for each in self.photo.component.values]
        await interaction.response.send_message(f"{self.motion.component.value} {sizes}", ephemeral=True)


class Bot(commands.AutoShardedBot):
    """`/animate` with a deferral, a reply with a clip and a button; a menu command with a modal."""

    def __init__(self, **options: Any) -> None:
        # The client waits this long for a further server before it calls itself ready: here all come at once.
        options |= {"intents": discord.Intents(guilds=True), "guild_ready_timeout": 0.1}
        super().__init__(commands.when_mentioned, **options)
        self.failed: list[BaseException] = []
        self.resumes = 0

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Reroll)
        self.tree.add_command(app_commands.Command(name="animate", description="Moves a photo.", callback=animate))
        self.tree.add_command(app_commands.ContextMenu(name="Animate", callback=animate_message))
        self.tree.error(self._note)
        await self.tree.sync()

    async def _note(self, _: discord.Interaction, error: app_commands.AppCommandError) -> None:
        self.failed.append(error)

    async def on_resumed(self) -> None:
        self.resumes += 1

    async def on_shard_resumed(self, _: int) -> None:
        self.resumes += 1


async def animate(
    interaction: discord.Interaction, photo: discord.Attachment, takes: app_commands.Range[int, 1, 4] = 3
):
    await interaction.response.defer(ephemeral=True)
    content = await photo.read()
    await interaction.followup.send(f"{len(content)} bytes, {takes} takes")
    assert isinstance(interaction.channel, discord.TextChannel)
    assert interaction.app_permissions.send_messages
    view = ui.View(timeout=None).add_item(Reroll(7))
    clip = discord.File(io.BytesIO(b"take 1"), "take-1.mp4")
    reply = await interaction.channel.send(
        f"<@{interaction.user.id}>",
        file=clip,
        view=view,
        nonce="delivery-7",
        allowed_mentions=discord.AllowedMentions(users=[interaction.user]),
    )
    second = discord.File(io.BytesIO(b"take 2"), "take-2.mp4")
    await reply.edit(content="two takes", attachments=[*reply.attachments, second])


async def animate_message(interaction: discord.Interaction, message: discord.Message) -> None:
    assert message.attachments[0].filename == "photo.png"
    await interaction.response.send_modal(Remix())


async def use_animate(juno: Person, lobby: str) -> str:
    photo = option("photo", 11, await juno.upload(b"photo", "photo.png"))
    return await juno.use(lobby, "animate", photo, option("takes", 4, 2))


async def message_with(person: Person, channel: str, content: str) -> Json:
    """The message of a channel with certain words, once it is there."""
    async with asyncio.timeout(60):
        while True:
            for one in await person.messages(channel):
                if one["content"] == content:
                    return one
            await asyncio.sleep(0.02)


async def test_a_command_from_sync_to_buttons_in_another_process(juno: Person, theo: Person, lobby: str, box: Sandbox):
    bot = Bot()
    async with online(bot):
        answer = await juno.outcome(await use_animate(juno, lobby), until=1)
        assert [one["content"] for one in answer["messages"]] == ["5 bytes, 2 takes"]
        reply = await message_with(juno, lobby, "two takes")
        assert [one["filename"] for one in reply["attachments"]] == ["take-1.mp4", "take-2.mp4"]
        assert not bot.failed

    async with online(bot := Bot()):
        assert (await theo.outcome(await theo.press(reply, "reroll:7")))["state"] == "acknowledged"
        assert await message_with(theo, lobby, "rerolled 7")
        assert not bot.failed
    assert not box.world.online


async def test_a_menu_command_opens_a_modal_with_an_upload(juno: Person, theo: Person, lobby: str):
    target = await theo.write(lobby, "look", attachments=[await theo.upload(b"x", "photo.png")])
    async with online(bot := Bot()):
        opened = await juno.use(lobby, "Animate", target=target["id"])
        now = await juno.outcome(opened)
        assert now["state"] == "modal"
        motion, photo = (one["component"]["custom_id"] for one in now["modal"]["components"])
        mine = await juno.upload(b"another", "b.png")
        made = await juno.fill(opened, {motion: "sway", photo: [mine]})
        answer = (await juno.outcome(made, until=1))["messages"][0]
        assert (answer["content"], answer["ephemeral"]) == ("sway [7]", True)
        assert not bot.failed


async def test_two_shards_come_up(box: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(discord.AutoShardedClient, "before_identify_hook", _at_once)
    async with online(bot := Bot(shard_count=2)):
        assert sorted(guild.name for guild in bot.guilds) == ["Lantern House", "Night Shift"]
        assert {guild.shard_id for guild in bot.guilds} == {0, 1}
    assert box.record.calls["GET /gateway/bot"] == 0


async def _at_once(*_: object, **__: object) -> None:
    """Two identifies may follow each other here: the sandbox counts no seconds between them."""


@pytest.mark.parametrize("action", ["drop", "reconnect"])
async def test_the_client_resumes_and_misses_nothing(juno: Person, lobby: str, action: str, control: Controls):
    async with online(bot := Bot()):
        await control("/gateway", {"action": action})
        made = await use_animate(juno, lobby)
        assert (await juno.outcome(made, until=1))["state"] == "acknowledged"
        assert bot.resumes
        assert not bot.failed


async def test_a_process_without_a_gateway_posts_buttons(juno: Person, lobby: str, box: Sandbox):
    made = Bot()
    async with online(made):
        await juno.outcome(await use_animate(juno, lobby), until=1)
    token = box.world.store.interactions.under(int(lobby))[0].token
    poster = discord.Client(intents=discord.Intents.none())
    await poster.login("sandbox")
    webhook = discord.Webhook.partial(seed.APP.id, token, client=poster)
    sent = await webhook.send("by webhook", view=ui.View(timeout=None).add_item(Reroll(8)), wait=True)
    channel = poster.get_partial_messageable(int(lobby))
    await channel.send("by token", nonce="n")
    with pytest.raises(discord.NotFound) as gone:
        await channel.get_partial_message(5).edit(content="x")
    await poster.close()
    assert gone.value.code == 10008
    message = await message_with(juno, lobby, "by webhook")
    assert message["id"] == str(sent.id)
    async with online(Bot()):
        await juno.outcome(await juno.press(message, "reroll:8"))


async def test_refusals_are_the_clients_own_errors(juno: Person, lobby: str, control: Controls):
    closed = await juno.channel("bot-cannot-post")
    client = discord.Client(intents=discord.Intents.none())
    with pytest.raises(discord.LoginFailure):
        await client.login("wrong")
    await client.close()
    client = discord.Client(intents=discord.Intents.none())
    await client.login("sandbox")
    with pytest.raises(discord.Forbidden) as forbidden:
        await client.get_partial_messageable(int(closed)).send("x")
    with pytest.raises(discord.HTTPException) as invalid:
        await client.get_partial_messageable(int(lobby)).send("x" * 2001)
    await control(f"/guilds/{seed.LANTERN_HOUSE.id}", {"attachment_limit": 10})
    with pytest.raises(discord.HTTPException) as large:
        await client.get_partial_messageable(int(lobby)).send(file=discord.File(io.BytesIO(b"x" * 11), "a.mp4"))
    limit = {"method": "POST", "route": "/messages$", "status": 429, "retry_after": 0.1}
    await control("/faults", limit)
    assert (await client.get_partial_messageable(int(lobby)).send("after a limit")).id
    await client.close()
    assert (forbidden.value.code, large.value.status, large.value.code) == (50013, 413, 40005)
    assert "In content: Must be 2000 or fewer in length." in str(invalid.value)
