"""A small application for the page's test: a command with every kind of option, buttons, a select, forms, a layout."""

import io
import subprocess
from pathlib import Path

import discord
import imageio_ffmpeg
import numpy as np
from discord import app_commands, ui
from PIL import Image

MODELS = ("Sketch", "Wan 2.2 TI2V-5B", "LTX-Video")
Bot = discord.Client


def picture(width: int, height: int, moment: float = 0.0) -> Image.Image:
    """Hills under an evening sky, a little different at every moment."""
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    sky = np.stack([30 + 220 * y, 36 + 150 * y, 88 + 30 * y], axis=-1) + np.zeros((height, width, 1))
    glow = np.exp(-40 * ((x - 0.4 - moment / 20) ** 2 + (y - 0.5) ** 2))[..., None]
    image = sky + glow * np.array([120.0, 90, 40])
    for layer, color in enumerate(((92, 56, 70), (56, 38, 54), (26, 19, 28))):
        ridge = 0.6 + layer * 0.13 + 0.05 * np.sin(x * (5 + 3 * layer) + layer * 2 + moment * (layer + 1))
        image = np.where((y > ridge)[..., None], np.array(color), image)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def photo(path: Path) -> Path:
    picture(900, 600).save(path, quality=88)
    return path


def clip(path: Path, start: float) -> Path:
    """Two seconds of H.264 that any browser plays."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", "384x256", "-r", "12", "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    frames = b"".join(picture(384, 256, start + number / 12).tobytes() for number in range(24))
    subprocess.run([*command, "-movflags", "+faststart", path], input=frames, check=True, timeout=60)
    return path


def _file(path: Path, *, spoiler: bool = False) -> discord.File:
    # From memory: discord.py leaves a file that it opened for an interaction's answer to the garbage collector.
    return discord.File(io.BytesIO(path.read_bytes()), path.name, spoiler=spoiler)


class Remix(ui.Modal, title="Remix: change what moves"):
    motion = ui.Label(
        text="Motion",
        description="What should move, in your words",
        component=ui.TextInput(style=discord.TextStyle.paragraph, default="The clouds drift", max_length=200),
    )
    model = ui.Label(
        text="Model",
        component=ui.Select(options=[discord.SelectOption(label=name, description="a model") for name in MODELS]),
    )
    strength = ui.Label(
        text="Strength",
        component=ui.RadioGroup(options=[discord.RadioGroupOption(label=word) for word in ("low", "high")]),
    )
    parts = ui.Label(
        text="Keep still",
        component=ui.CheckboxGroup(
            required=False, options=[discord.CheckboxGroupOption(label=word) for word in ("sky", "people")]
        ),
    )
    end = ui.Label(text="End photo", component=ui.FileUpload(required=False, max_values=3))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        motion, strength, end = self.motion.component, self.strength.component, self.end.component
        assert isinstance(motion, ui.TextInput)
        assert isinstance(strength, ui.RadioGroup)
        assert isinstance(end, ui.FileUpload)
        names = [one.filename for one in end.values]
        await interaction.response.send_message(f"Remix of **{motion.value}**, {strength.value}, {names}")


class OnMessage(ui.Modal, title="Animate this photo"):
    """The older kind of form: rows of text inputs."""

    motion = ui.TextInput(label="Motion", placeholder="What should move")

    def __init__(self, filename: str) -> None:
        super().__init__()
        self.filename = filename

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"{self.filename}: {self.motion.value}", ephemeral=True)


class Reply(ui.View):
    """The buttons under a clip."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.add_item(ui.Button(label="Recipe", url="https://example.org/recipe", row=1))

    @ui.button(label="Reroll", style=discord.ButtonStyle.primary, custom_id="reroll")
    async def reroll(self, interaction: discord.Interaction, _: ui.Button["Reply"]) -> None:
        await interaction.response.edit_message(content="Rerolled **once**")

    @ui.button(label="Remix…", custom_id="remix")
    async def remix(self, interaction: discord.Interaction, _: ui.Button["Reply"]) -> None:
        await interaction.response.send_modal(Remix())

    @ui.button(label="Silent", style=discord.ButtonStyle.danger, custom_id="silent")
    async def silent(self, interaction: discord.Interaction, _: ui.Button["Reply"]) -> None:
        """Never answers, as an application that hangs."""

    @ui.button(label="Off", disabled=True, custom_id="off")
    async def off(self, interaction: discord.Interaction, _: ui.Button["Reply"]) -> None:
        raise AssertionError

    @ui.select(
        placeholder="Vary…",
        custom_id="vary",
        row=2,
        options=[discord.SelectOption(label=word, description=f"{word} change") for word in ("Subtle", "Strong")],
    )
    async def vary(self, interaction: discord.Interaction, select: ui.Select["Reply"]) -> None:
        await interaction.response.send_message(f"Varied: {select.values[0]}", ephemeral=True)


class Gallery(ui.LayoutView):
    """A message of components alone."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        hill = ui.TextDisplay("### Clips of the week\nThree that **moved** us")
        items = [
            discord.MediaGalleryItem("attachment://take-1.mp4"),
            discord.MediaGalleryItem("attachment://still.jpg"),
        ]
        items[1].spoiler = True
        section = ui.Section("Hills at dusk", accessory=ui.Thumbnail("attachment://still.jpg"))
        parts = (hill, ui.Separator(), section, ui.MediaGallery(*items), ui.File("attachment://recipe.txt"))
        self.add_item(ui.Container(*parts, accent_colour=0xE9A23B))


def build_bot(media: Path) -> Bot:
    """The application; `media` holds take-1.mp4, take-2.mp4 and still.jpg."""
    client = discord.Client(intents=discord.Intents(guilds=True))
    tree = app_commands.CommandTree(client)
    mine = app_commands.Group(name="my", description="What is yours")

    @tree.command(description="Bring a photo to life")
    @app_commands.describe(photo="The photo that should move", motion="What should move", model="What renders it")
    @app_commands.describe(takes="How many", strength="How much moves", end_photo="How it ends", spoiler="Hide it")
    @app_commands.choices(strength=[app_commands.Choice(name=word, value=word) for word in ("low", "medium", "high")])
    async def animate(
        interaction: discord.Interaction,
        photo: discord.Attachment,
        motion: app_commands.Range[str, 1, 100] | None = None,
        model: str | None = None,
        takes: app_commands.Range[int, 1, 4] = 2,
        strength: str | None = None,
        end_photo: discord.Attachment | None = None,
        spoiler: bool = False,  # noqa: FBT001, FBT002 - an option
        length: app_commands.Range[float, 1, 15] | None = None,
    ) -> None:
        await interaction.response.defer(thinking=True)
        files = [_file(media / f"take-{number}.mp4", spoiler=spoiler) for number in (1, 2)[:takes]]
        given = f"{motion} · {model} · {takes} · {strength} · {length}"
        words = f"{interaction.user.mention} {photo.filename}: {given} · <t:{60}:R>"
        await interaction.followup.send(words, files=files, view=Reply())

    @animate.autocomplete("model")
    async def models(_: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=one, value=one.lower()) for one in MODELS if typed.lower() in one.lower()]

    @animate.autocomplete("length")
    async def lengths(_: discord.Interaction, typed: str) -> list[app_commands.Choice[float]]:
        offered = {2.04: "2.04 s · 111 credits", 5.04: "5.04 s · 273 credits"}
        wanted = "" if isinstance(typed, float) else typed
        return [app_commands.Choice(name=name, value=one) for one, name in offered.items() if name.startswith(wanted)]

    @mine.command(description="What you are waiting for")
    async def queue(interaction: discord.Interaction) -> None:
        embed = discord.Embed(title="Your queue", description="Nothing waits.", color=0xE9A23B)
        embed.add_field(name="Budget", value="240 credits").add_field(name="Lane", value="fast").set_footer(
            text="today"
        )
        await interaction.response.send_message(embed=embed, ephemeral=True)

    @mine.command(description="Your latest clips")
    async def clips(interaction: discord.Interaction) -> None:
        recipe = discord.File(io.BytesIO(b"seed 7"), "recipe.txt")
        files = [_file(media / "take-1.mp4"), _file(media / "still.jpg"), recipe]
        await interaction.response.send_message(view=Gallery(), files=files)

    tree.add_command(mine)

    @tree.context_menu(name="Animate")
    async def animate_message(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_modal(OnMessage(message.attachments[0].filename))

    async def setup_hook() -> None:
        client.add_view(Reply())
        await tree.sync()

    client.setup_hook = setup_hook
    return client
