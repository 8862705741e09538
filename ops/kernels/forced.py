"""Which way to run kernels the environment asks for."""

from __future__ import annotations

import os

WAYS = ("definition", "triton", "compiled")
VARIABLE = "NASTK_KERNELS"
_FORMER = {"native": "compiled"}


def forced() -> str | None:
    """Return what NASTK_KERNELS asks for, None where it is not set.

    `definition` runs the slow definitions and `triton` the Triton kernels; `compiled` is what was
    compiled before: nastk's own kernels and torch's on the CPU, torch's and cuDNN's on CUDA.
    It was called `native`, which is understood still.

    Raises:
        ValueError: if it is not one of `WAYS`.
    """
    asked = os.environ.get(VARIABLE, "")
    way = _FORMER.get(asked, asked)
    if way and way not in WAYS:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(WAYS)}, got '{asked}'")
    return way or None
