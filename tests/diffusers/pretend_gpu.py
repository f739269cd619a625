"""A GPU that is none: its tensors lie in RAM, say that they are on `cuda:0`, and mix with those of the CPU no more than
those of a real one do.

The real pipelines run on it in the types that a GPU gets, so that what is left on the wrong side of the way between RAM
and GPU is found on a machine without one, and what is left on the GPU is counted. It has no kernels, streams, speed or
random numbers of its own: what is drawn there without a generator is what the CPU would draw. Tests that use it call
the runner in their own thread: it is there for no other.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, Self, cast
from unittest import mock

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

GPU = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_C: Any = torch._C  # pyright: ignore[reportPrivateUsage] - what torch's own kinds of tensors are made with
_SIZE = 80 * 1024**3
_CROSSING = {"aten::copy_", "aten::_to_copy"}
"""What takes tensors of both sides."""

_held: Counter[tuple[int, int]] = Counter()
"""How many tensors share a memory of the GPU, by its address and bytes."""


def bytes_held() -> int:
    """What tensors hold of the GPU just now."""
    return sum(size for _, size in _held)


class OnGpu(torch.Tensor):
    """A tensor on the GPU; its numbers are in `there`."""

    there: torch.Tensor
    held: "_Hold"

    def __new__(cls, there: torch.Tensor) -> Self:
        made = torch.Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage] - what torch has for it
            cls,
            there.size(),
            strides=there.stride(),
            storage_offset=there.storage_offset(),
            dtype=there.dtype,
            device=_CPU,  # for torch's own code, which would look for a real one
            requires_grad=there.requires_grad,
        )
        made.there = there
        made.held = _Hold(there.untyped_storage())
        return made

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride] - read only
        return GPU

    @property
    def is_cuda(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return True

    @property
    def is_cpu(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return False

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    def __repr__(self, **_: object) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"OnGpu({self.there!r})"


class _Hold:
    """A tensor's share of a memory, until nothing refers to the tensor."""

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self._key = storage.data_ptr(), storage.nbytes()
        _held[self._key] += 1

    def __del__(self) -> None:
        _held[self._key] -= 1
        if not _held[self._key]:
            del _held[self._key]


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation makes of tensors that are all on one side, on that side or where it is asked to be."""
    name, met = func._schema.name, list[torch.Tensor]()

    def there(value: object) -> object:
        if isinstance(value, torch.Tensor):
            met.append(value)
        return value.there if isinstance(value, OnGpu) else value

    inner, named = tree_map(there, args), tree_map(there, kwargs)
    known = {id(tensor.there): tensor for tensor in met if isinstance(tensor, OnGpu)}
    strangers = [tuple(tensor.shape) for tensor in met if not isinstance(tensor, OnGpu) and tensor.dim()]
    if known and strangers and name not in _CROSSING:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {strangers} are on the CPU in {name}")
    on_gpu = bool(known)
    if named.get("device") is not None:
        # `Tensor.to` is answered below; here torch's own code asks for the side on which it believes the tensor to be.
        on_gpu = torch.device(named["device"]).type == "cuda" or (on_gpu and name == "aten::_to_copy")
        named["device"] = _CPU if on_gpu else named["device"]
    drawn_by = [value for value in (*args, *named.values()) if isinstance(value, torch.Generator)]
    if on_gpu and drawn_by:  # none but those of the CPU can be made here
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if "pin_memory" in named:
        named["pin_memory"] = False
    made = func(*inner, **named)
    if name == "aten::copy_":
        return args[0]  # on whichever side it was

    def back(value: object) -> object:
        if not isinstance(value, torch.Tensor):
            return value
        same = known.get(id(value))  # what was changed in place
        return OnGpu(value) if same is None else same

    return tree_map(back, made) if on_gpu else made


class _Operations(TorchDispatchMode):
    """What is made from nothing, such as zeros, and what has tensors of the CPU only."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """What torch answers before it comes to an operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        named = {name: _numbered(value) for name, value in (kwargs or {}).items()}
        answer = _ANSWERS.get(func) or func
        return answer(*map(_numbered, args), **named)


def _numbered(value: object) -> object:
    """A device with its number, which torch would ask a real one for."""
    return GPU if isinstance(value, str | torch.device) and str(value) in {"cuda", "cuda:0"} else value


def _moved(tensor: torch.Tensor, device: torch.device | None) -> torch.Tensor:
    """A copy on the other side; the tensor itself where it is there already."""
    if device is None or device == tensor.device:
        return tensor
    if device == GPU and tensor.device == _CPU:
        return OnGpu(tensor.detach().clone())
    with _C.DisableTorchFunction():
        return (tensor.there if isinstance(tensor, OnGpu) else tensor).detach().to(device, copy=True)


def _to(tensor: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
    """`Tensor.to` in all its forms."""
    wishes = {name: value for name, value in named.items() if name != "non_blocking" and value is not None}
    for value in args:
        if isinstance(value, torch.Tensor):
            wishes |= {"device": value.device, "dtype": value.dtype}
        elif isinstance(value, torch.dtype):
            wishes["dtype"] = value
        elif isinstance(value, str | torch.device):
            wishes["device"] = torch.device(value)
    moved = _moved(tensor, torch.device(wishes.pop("device", tensor.device)))
    with _C.DisableTorchFunction():
        return moved.to(**wishes) if wishes else moved


def _become(tensor: Any, other: torch.Tensor) -> None:
    """Give a tensor another's numbers and place, whoever refers to it."""
    is_parameter = isinstance(tensor, nn.Parameter)
    twin = cast("Any", nn.Parameter(other, tensor.requires_grad) if is_parameter else other.detach())
    tensor.__class__, twin.__class__ = twin.__class__, tensor.__class__
    tensor.__dict__, twin.__dict__ = twin.__dict__, tensor.__dict__
    _C._swap_tensor_impl(tensor, twin)


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    assert not isinstance(tensor, OnGpu), "only what is in RAM can be pinned"
    return tensor.clone()


def _there(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Make a tensor of numbers where it is asked for."""

    def made(*args: object, device: torch.device | None = None, **named: object) -> torch.Tensor:
        return _moved(make(*args, **named), device and torch.device(device))

    return made


def _memory(tensor: torch.Tensor) -> "torch.UntypedStorage | _Storage":
    if isinstance(tensor, OnGpu):
        return _Storage(tensor.there.untyped_storage())
    return tensor.untyped_storage()


class _Storage:
    """The memory of a tensor on the GPU."""

    def __init__(self, there: torch.UntypedStorage) -> None:
        self.there = there
        self.data_ptr = there.data_ptr
        self.nbytes = there.nbytes

    def cpu(self) -> torch.UntypedStorage:
        return self.there.clone()


_ANSWERS: dict[object, Callable[..., Any]] = {
    cast("Any", torch.Tensor.data).__set__: _become,
    torch.Tensor.to: _to,
    torch.Tensor.cpu: lambda tensor: _moved(tensor, _CPU),
    torch.Tensor.cuda: lambda tensor: _moved(tensor, GPU),
    torch.Tensor.pin_memory: _pinned,
    torch.Tensor.is_pinned: lambda _: False,
    torch.Tensor.record_stream: lambda *_: None,
    torch.Tensor.untyped_storage: _memory,
    torch.tensor: _there(torch.tensor),
    torch.as_tensor: _there(torch.as_tensor),
}


class _Stream:
    """Work in turn: what was asked for is done."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@contextmanager
def pretended() -> Generator[torch.device]:
    """Within it this thread has a GPU of 80 GiB."""
    properties = SimpleNamespace(total_memory=_SIZE, name="pretended", major=9, minor=0)
    answers: dict[str, object] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "set_device": lambda _: None,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda _: (_SIZE - bytes_held(), _SIZE),
        "memory_reserved": lambda _: bytes_held(),
        "get_device_properties": lambda _: properties,
        "get_device_capability": lambda *_: (9, 0),
        "get_rng_state": lambda _: torch.get_rng_state(),
        "set_rng_state": lambda *_: None,
        "manual_seed_all": lambda _: None,
        "Stream": _Stream,
        "Event": _Stream,
        "stream": nullcontext,
        "current_stream": _Stream,
    }
    instead: list[tuple[object, str, object]] = [(torch.cuda, name, answer) for name, answer in answers.items()]
    instead += [
        (torch.accelerator, "empty_host_cache", lambda: None),
        (torch, "_has_compatible_shallow_copy_type", lambda *_: True),  # so that a module's parameters stay the same
        (torch.UntypedStorage, "to", _sent(torch.UntypedStorage.to)),
        (torch.Tensor, "set_", _viewed(torch.Tensor.set_)),
        (EulerDiscreteScheduler, "set_timesteps", _timed(EulerDiscreteScheduler.set_timesteps)),
    ]
    with ExitStack() as stack:
        for owner, name, answer in instead:
            stack.enter_context(mock.patch.object(owner, name, answer))
        # Transformers would read in threads of its own.
        stack.enter_context(mock.patch.dict("os.environ", {"HF_DEACTIVATE_ASYNC_LOAD": "1"}))
        stack.enter_context(_Calls())
        stack.enter_context(_Operations())
        yield GPU


def _sent(to: Callable[..., Any]) -> Callable[..., Any]:
    def sent(storage: torch.UntypedStorage, *, device: torch.device) -> object:
        return _Storage(storage.clone()) if device == GPU else to(storage, device=device)

    return sent


def _viewed(set_: Callable[..., Any]) -> Callable[..., Any]:
    def viewed(tensor: torch.Tensor, source: object, *view: object) -> torch.Tensor:
        if isinstance(source, _Storage) and isinstance(tensor, OnGpu):
            return OnGpu(set_(tensor.there.new_empty(0), source.there, *view))
        return set_(tensor, source, *view)

    return viewed


def _timed(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    def timed(scheduler: Any, *args: Any, device: object = None, **named: Any) -> None:
        """It reads numbers out of a list of tensors, which torch does without any of its calls."""
        set_timesteps(scheduler, *args, device="cpu", **named)
        scheduler.timesteps = scheduler.timesteps.to(device)

    return timed
