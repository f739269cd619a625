"""Slash commands and message menus, one file a command."""

from bot.commands.animate import animate
from bot.commands.help import help_command
from bot.commands.menu import animate_message
from bot.commands.my import my
from bot.commands.quota import quota

__all__ = ["animate", "animate_message", "help_command", "my", "quota"]
