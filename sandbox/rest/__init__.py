"""Discord's REST API as far as applications like ours use it, one subject a file."""
