"""What a GPU's kernels are compiled with where a model runs: looked for, not run."""

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from clips.errors import SetupError
from zoetrope.findings import Finding


def examine_compiler(device: str) -> Finding | None:
    """Whether Triton would find what it needs; None where no GPU would have use for it. `device` is the setting."""
    if not all(map(find_spec, ("torch", "diffusers"))) or not _has_gpu(device):
        return None
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        lacking = "no C compiler"
    elif not Path(sysconfig.get_path("include"), "Python.h").is_file():
        lacking = "no headers of Python"
    else:
        return Finding("compiler", "models can be compiled for the GPU")
    fix = "On Debian and Ubuntu, install gcc, libc6-dev and python3-dev; then start the generator again."
    return Finding("compiler", f"{lacking}: models render without compiled blocks, and slower", fix)


def _has_gpu(device: str) -> bool:
    from generator.engines.diffusers.outlook import this_gpu  # noqa: PLC0415 - seconds, and not everywhere here

    try:
        return this_gpu(device) is not None
    except SetupError:  # told of the models
        return False
