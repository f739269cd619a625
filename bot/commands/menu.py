"""**Animate** in a message's menu: the photo is already in the channel, a form asks for the rest."""

from collections.abc import Iterator

import discord
from discord import app_commands

from bot import modals
from bot.application import Interaction
from clips.errors import MemberError
from clips.intakes import Wish
from courier.buttons import Purpose


@app_commands.context_menu(name="Animate")
async def animate_message(interaction: Interaction, message: discord.Message) -> None:
    downloads = interaction.client.parts.downloads
    photo = next((address for address in _pictures(message) if downloads.allows(address)), None)
    if photo is None:
        raise MemberError("That message has no photo. Pick one with a picture in it, or attach yours to `/animate`.")
    await modals.ask(interaction, Purpose.ANIMATE, Wish(photo_url=photo))


def _pictures(message: discord.Message) -> Iterator[str]:
    """The addresses of a message's pictures, uploads first. What they really are is seen once they are here."""
    for attachment in message.attachments:
        if attachment.content_type is None or attachment.content_type.startswith("image/"):
            yield attachment.url
    for embed in message.embeds:
        for picture in (embed.image, embed.thumbnail):
            yield from (address for address in (picture.url, picture.proxy_url) if address)
