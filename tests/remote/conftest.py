"""A clip for the servers of these tests to give, and a model that they serve."""

from pathlib import Path

import numpy as np
import pytest

from clips.video import Encoder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of a moving edge, 64 x 48."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = np.zeros((16, 48, 64, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, : 4 * number] = 200
    with Encoder(path, 64, 48, 16) as encoder:
        encoder.write(frames)
        encoder.finish()
    return Path(path).read_bytes()
