"""A GPU's memory given back, and what errors mean for the process that uses it."""

import gc

import torch

from clips.errors import CancelledError, LeaseLostError, StoppingError

_LACKING = (
    "out of memory",  # the driver and Triton, whose errors are not torch's own
    "alloc_failed",
    "allocation_failed",
    "not_initialized",  # cuBLAS and cuDNN where there is no room for what they begin with
    "can't allocate memory",
    "not enough memory",
)
_ASKED = (CancelledError, LeaseLostError, StoppingError)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory is what was lacking, the GPU's or RAM: something smaller may still fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return any(sign in said for sign in _LACKING)


def is_fatal(error: Exception) -> bool:
    """Whether this process can use its GPU no more. After some errors every later call fails, after others none does,
    and both come in the same words: so the GPU is asked. Called in the engine's thread, where the error was raised.
    """
    # Nothing of the GPU's is in what a worker asks for, and the answer would wait for all that is still to be computed.
    return not isinstance(error, _ASKED) and not answers()


def answers() -> bool:
    """Whether the GPU of this thread still computes; so does a process that uses none."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.zeros(1, device="cuda").add_(1)
        torch.cuda.synchronize()
    except RuntimeError as error:
        return is_out_of_memory(error)
    return True


def free_memory(device: torch.device) -> None:
    """Let others have what nothing here refers to any more: on the GPU, and of the RAM that is pinned for it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.accelerator.empty_host_cache()
