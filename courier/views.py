"""A message's buttons as discord.py sends them. Presses are met by their id, so the library has nothing to remember."""

from discord import ButtonStyle, ui

from courier.message import Message, Style

_STYLES = {
    Style.PRIMARY: ButtonStyle.primary,
    Style.SECONDARY: ButtonStyle.secondary,
    Style.DANGER: ButtonStyle.danger,
}


def view_of(message: Message) -> ui.View | None:
    """The rows of buttons; None where there are none. For a running event loop."""
    if not message.rows:
        return None
    view = ui.View(timeout=None)
    for row, buttons in enumerate(message.rows):
        for button in buttons:
            view.add_item(
                ui.Button[ui.View](
                    label=button.label,
                    custom_id=button.id.custom_id,
                    style=_STYLES[button.style],
                    disabled=button.disabled,
                    row=row,
                )
            )
    # A client keeps every view that has not stopped, for as long as it lives.
    view.stop()
    return view
