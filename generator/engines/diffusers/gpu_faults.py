"""What the GPU's errors mean for the process."""

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Something smaller may still fit."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def is_fatal(error: Exception) -> bool:
    """After such an error every later call on the GPU fails too."""
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(("CUDA error", "cuDNN error"))
