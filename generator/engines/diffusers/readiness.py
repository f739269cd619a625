"""Whether a model could be loaded on this machine, found out before a member asks for it: its files, then its size.

Reads headers and configurations, asks the hub where something is missing, and downloads no weights.
"""

from clips.catalog import Model
from clips.errors import RetryableError, SetupError
from clips.machine import total_ram
from generator.engines.diffusers.download import check_disk
from generator.engines.diffusers.hub import describe, stock, whole
from generator.engines.diffusers.memory import GIB, choose


def check(model: Model, device: str) -> None:
    """Raise `SetupError` or `RetryableError` where a load would fail: see `check_files` and `check_size`."""
    check_files(model)
    check_size(model, device)


def check_files(model: Model) -> None:
    """Raise unless the files are here, or the hub has them and the disk has room for them. Without torch."""
    if whole(model):
        return
    try:
        missing = stock(model).missing
    except RetryableError as error:
        raise RetryableError(
            f"{error} Once the hub answers, all goes on by itself; or bring the files here: "
            f"zoetrope models pull {model.name}"
        ) from error
    check_disk(model.title, missing)


def check_size(model: Model, device: str) -> None:
    """Raise where no way to place the model leaves room for even its smallest clip, had this machine nothing else to
    do. `device` is the setting. Where the host chose the placement, anything goes.
    """
    # Seconds of imports, and for models whose files are within reach only.
    from generator.engines.diffusers import estimate, loading, outlook  # noqa: PLC0415 - see above
    from generator.engines.diffusers.family import family_of  # noqa: PLC0415 - see above

    chosen, family, clip = loading.choose_device(device), family_of(model), estimate.smallest(model)
    try:
        found = describe(model)
    except (SetupError, RetryableError):
        if whole(model):
            raise
        return  # not every hub shows the headers alone: the load will tell
    plans = loading.plans_of(model, family, found, chosen, clip)
    vram, ram = outlook.memory_of(chosen), total_ram()
    if chosen.type == "cuda":
        loading.check_wish(model, plans)
    if model.memory is not None or any(plan.fits(vram, ram) for plan in plans):
        return
    short = choose(plans, vram, ram).short_of(vram, ram)
    there = f"{vram / GIB:.1f} GiB of GPU memory and " if vram else ""
    raise SetupError(
        f"{model.title} does not fit here: even {clip.width}x{clip.height} with {clip.frames} frames takes {short}, "
        f"and there are {there}{ram / GIB:.1f} GiB of RAM. Take another model, or set `memory` in its catalogue entry "
        "to load it all the same."
    )
