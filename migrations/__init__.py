"""Numbered, forward-only SQL files."""
