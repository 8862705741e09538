"""What a program has set in torch is neither read nor changed by what it asks of nastk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Work in torch's initial settings and give the caller's back; also a decorator.

    These are the state of random numbers on all devices in use, the default dtype and device,
    whether gradients are computed, and the number of threads, which is the caller's in here too.

    Example:
        >>> with own_torch_state():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.get_default_dtype()
        torch.float32
    """
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    count = torch.cuda.device_count() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=range(count)))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)
