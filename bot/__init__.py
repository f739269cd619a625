"""Discord in: commands, buttons and live cards."""
