"""Ports for what is told where to listen."""

import random
import socket


def free_port() -> int:
    """A port of this machine that is free, and stays so: from below those that the kernel gives to who asks for any."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
