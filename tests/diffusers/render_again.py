"""A fresh process that renders seed 7 with every tiny model, the last one first: `render_again PHOTO FOLDER`."""

import asyncio
import gc
import sys
from pathlib import Path

from generator.engines.diffusers.engine import DiffusersEngine

assert "torch" not in sys.modules, "the engine is light until it loads"

from engine_harness import Told  # noqa: E402
from families import FAMILIES, Loaded, digest  # noqa: E402


async def main(photo: Path, folder: Path) -> None:
    gc.freeze()  # each close would look through all that was imported
    for tiny in reversed(FAMILIES):
        model = tiny.model(folder / tiny.entry)
        one = Loaded(tiny, folder, model, await DiffusersEngine.load(model, "cpu", Told()), photo)
        sys.stdout.write(digest(await one.render(one.job(7))) + "\n")
        await one.engine.close()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
