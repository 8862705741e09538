"""Which way to run kernels the environment asks for."""

import os

BACKENDS = ("definition", "triton", "native")
VARIABLE = "NASTK_KERNELS"


def forced() -> str | None:
    """Return what NASTK_KERNELS asks for, None where it is not set.

    `definition` runs the slow definitions and `triton` the Triton kernels; `native` is what was
    compiled before: nastk's own kernels and torch's on the CPU, torch's and cuDNN's on CUDA.

    Raises:
        ValueError: if it is not one of `BACKENDS`.
    """
    value = os.environ.get(VARIABLE)
    if value and value not in BACKENDS:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(BACKENDS)}, got '{value}'")
    return value or None
