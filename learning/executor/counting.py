"""FLOPs and memory of code that is no operation, such as a user's own training loop, counted while it computes.

An operation is pure, so that it can be run on shapes alone, and its results kept. Of other code it is not known what it
reads, draws or changes: it runs once, as it is, on real tensors, and torch's operators are counted as they come. The
convention is that of `flops`: matrix products, convolutions, attention and recurrent layers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import ref

import torch
from torch.utils.flop_counter import flop_registry

from learning.executor.flops import FlopCount
from learning.executor.operators import tensors
from learning.executor.uncompiled import UncompiledMode

T = TypeVar("T")

ATEN = torch.ops.aten


class Counted(NamedTuple, Generic[T]):
    """What code returned, and what it took."""

    result: T
    """What it returned."""
    flops: int
    """Floating-point operations."""
    memory_bytes: int
    """Largest memory, at any moment, of the tensors that its operators had read or made."""


def counted(function: Callable[..., T], *args: Any) -> Counted[T]:
    """Call `function(*args)` and count what torch computes meanwhile in this thread; exceptions pass through.

    Processes that it starts (workers of a `DataLoader`) and arithmetic outside torch are not counted, unless it is
    charged by `charge_elementwise`. Nor is what stands under `uncharged()`, such as the loading of data.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer would hide its products
        stack.enter_context(torch.enable_grad())
        counter = stack.enter_context(_Counter())
        result = function(*args)
    return Counted(result, counter.count.flops, counter.memory.most_bytes)


class LiveMemory:
    """Memory of the tensors that operators have read or made, as long as it is held."""

    def __init__(self) -> None:
        self.most_bytes = 0
        """The most so far."""
        self._bytes = 0
        self._held: dict[int, ref[torch.UntypedStorage]] = {}

    def record(self, *values: Any) -> None:
        """Note the memory of the tensors in these values."""
        for tensor in tensors(values):
            storage = tensor.untyped_storage()
            where, size_bytes = int(storage._cdata), storage.nbytes()
            if where not in self._held:
                self._held[where] = ref(storage, partial(self._release, where, size_bytes))
                self._bytes += size_bytes
                self.most_bytes = max(self.most_bytes, self._bytes)

    def _release(self, where: int, size_bytes: int, _: object) -> None:
        del self._held[where]
        self._bytes -= size_bytes


class _Counter(UncompiledMode):
    """Context in which FLOPs and memory of all operators are counted while they compute."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.memory = FlopCount(), LiveMemory()

    def __enter__(self) -> _Counter:
        FlopCount.active.append(self.count)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        FlopCount.active.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = FUSED.get(func._overloadpacket) or flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.count.add(formula(*args, **kwargs, out_val=out))
        if not self.count.paused:
            self.memory.record(args, kwargs, out)
        return out


def _lstm(x: Any, weight: Any, recurrent: Any, *_: Any, **__: Any) -> int:
    """One direction of one layer of an LSTM, on (steps, samples, features), in either layout of the first two axes."""
    return int(2 * x.shape[0] * x.shape[1] * (weight.numel() + recurrent.numel()))


def _lstm_backward(x: Any, weight: Any, recurrent: Any, *_: Any, **__: Any) -> int:
    return 2 * _lstm(x, weight, recurrent)  # the products for the weights, and those for the input and the states


FUSED: dict[Any, Callable[..., int]] = {
    ATEN.mkldnn_rnn_layer: _lstm,
    ATEN.mkldnn_rnn_layer_backward: _lstm_backward,
    ATEN._scaled_dot_product_flash_attention_for_cpu: flop_registry[ATEN._scaled_dot_product_flash_attention],
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        ATEN._scaled_dot_product_flash_attention_backward
    ],
}
"""FLOPs of operators for CPUs that torch's own table leaves out."""
