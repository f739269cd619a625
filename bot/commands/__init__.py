"""Slash commands and message menus, one file a command."""
