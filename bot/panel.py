"""Shows a panel of the courier's to the presser alone."""

from bot.application import Interaction
from courier.message import Message
from courier.views import view_of


async def show(interaction: Interaction, panel: Message) -> None:
    """As the first answer to a press."""
    view = view_of(panel)
    if view is None:
        await interaction.response.send_message(panel.content, ephemeral=True)
    else:
        await interaction.response.send_message(panel.content, view=view, ephemeral=True)
