"""A GPU's memory given back, and what its errors mean for the process."""

import gc

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Something smaller may still fit."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def is_fatal(error: Exception) -> bool:
    """After such an error every later call on the GPU fails too."""
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(("CUDA error", "cuDNN error"))


def free_memory(device: torch.device) -> None:
    """Let others have what nothing here refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
