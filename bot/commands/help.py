"""`/help`: what Zoetrope does and how to begin."""

from discord import app_commands

from bot.application import Interaction

_HELP = """\
**Zoetrope brings a still photo to life.**
`/animate` with a photo makes a few takes of a short clip; they come as a reply in the channel. Say in `motion` what \
should move; `model` and `length` suggest what there is, each with its price. A photo that is \
already here: its menu, Apps, **Animate**.

**On a finished clip:** the numbers choose a take (★), **Reroll** tries another seed, **Remix…** changes the words or \
the model, **Vary…** makes takes that resemble the ★, **On my photo…** does the same with a photo of yours. Anyone may \
press them, and whoever presses pays.

**Credits** are seconds of a graphics card. They are set aside when you ask, and you pay for what was rendered: a \
failure is free, and so is cancelling before it starts. They come back every day at midnight UTC. `lane: relaxed` is \
free and waits for a quiet moment. A few models cost real money, which the host of this bot pays: they are there only \
where that is allowed, and what costs more asks you first.

`/my queue` what you wait for, with **Cancel** · `/my clips` your last clips · `/my budget` your credits"""


@app_commands.command(name="help", description="What Zoetrope does, and how to begin")
async def help_command(interaction: Interaction) -> None:
    await interaction.response.send_message(_HELP, ephemeral=True)
