"""What the host's commands know of the files of open-weights models, where the library for them is installed."""

import logging
from importlib.util import find_spec

from clips.catalog import EngineKind, Model
from clips.errors import RetryableError, SetupError
from generator.engines.loading import check_loadable
from zoetrope.findings import Finding


def the_hub():  # noqa: ANN201 - the module itself
    """The module that knows the hub. Raises `SetupError` where its library is not installed."""
    if find_spec("huggingface_hub") is None:
        raise SetupError("Models need PyTorch and diffusers. Install them: sh deploy/setup.sh generator")
    from huggingface_hub.utils import logging as hub_logging  # noqa: PLC0415 - see above

    from generator.engines.diffusers import hub  # noqa: PLC0415 - see above

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it would tell of kernels that nobody needs
    hub_logging.set_verbosity_error()  # it would tell of each new attempt
    return hub


def terms_of_fetching(model: Model) -> str | None:
    """What a host has to know before a first render fetches a model's files. None where all are here, or come from
    nowhere. Raises `SetupError` where its own folder is away.
    """
    if model.engine is not EngineKind.DIFFUSERS or find_spec("huggingface_hub") is None or the_hub().whole(model):
        return None
    size = f", about {model.weights:.0f} GB," if model.weights else ""
    return f"The files of {model.title}{size} are fetched from the hub first. {model.terms}"


def examine_model(model: Model, device: str) -> Finding:
    """Whether a model can be loaded on this machine. `device` is the setting."""
    found = examine_files(model)
    if found.fix:
        return found
    try:
        check_loadable(model, device)
    except (SetupError, RetryableError) as error:
        return Finding(model.name, "cannot be loaded here", str(error))
    return found


def examine_files(model: Model) -> Finding:
    """Whether all that a model is made from is here, by the hub's own list where that can be had."""
    if find_spec("torch") is None or find_spec("diffusers") is None:
        return Finding(model.name, "needs torch and diffusers", "Run `sh deploy/setup.sh generator`.")
    pull = f"Run `zoetrope models pull {model.name}`, or let the first render download them."
    hub = the_hub()
    try:
        stock = hub.stock(model)
    except RetryableError as error:  # no way to the hub: with files of everything, it may well render
        if hub.whole(model):
            return Finding(model.name, "its files are here, as far as can be told without the hub")
        return Finding(model.name, "its files are not (all) here, and cannot be fetched", f"{error} Then: {pull}")
    except SetupError as error:
        return Finding(model.name, "its files cannot be used", str(error))
    if stock.missing:
        sizes = f"{stock.missing / 1e9:.1f} of {stock.total / 1e9:.1f} GB have still to come"
        return Finding(model.name, f"its files are not (all) here: {sizes}", pull)
    return Finding(model.name, "its files are here")
