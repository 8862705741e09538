"""Finding and loading the compiled kernels, and choosing the instruction set they run with."""

from __future__ import annotations

import ctypes
import functools
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from ..forced import forced

_ABI = 3  # of the declarations below, see `nastk_abi`
# Bits of `nastk_isas`, lowest first; each entry may be forced where the processor has it.
_X86 = ("scalar", "avx2", "avx512")
_ARM = ("neon",)

_pointer, _int, _long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_feature = [_pointer, _int]  # data, whether channels come last
_fused = [_pointer, _pointer, _int]  # scale, shift, activation
_candidates = [_pointer, _pointer, *[_long] * 4, _pointer, _int, _pointer]  # kernels ... columns
_sizes = [_int, _long, _long, _long]  # channels last, B, C, positions

# Arguments behind the first two, which are the instruction set and the number of threads.
_SIGNATURES: dict[str, list[type]] = {
    "depthwise_weight": [*_feature, *_feature, _pointer, *_fused, *[_long] * 6],
    "depthwise_forward": [*_feature, _pointer, *_feature, *_fused, *[_long] * 6],
    "depthwise_data": [*_feature, _pointer, *_feature, *[_long] * 6],
    "norm_act": [*[_pointer] * 3, _int, _pointer, *_sizes],
    "channel_moments": [*[_pointer] * 3, *_sizes],
    "norm_act_backward_reduce": [*[_pointer] * 6, _int, *[_pointer] * 2, *_sizes],
    "norm_act_backward_apply": [*[_pointer] * 7, _int, _pointer, *_sizes],
    "join": [*[_pointer] * 6, *_sizes],
    "join_backward_reduce": [*[_pointer] * 8, *_sizes],
    "join_backward_apply": [*[_pointer] * 8, *_sizes],
    "fold": [*_candidates, _pointer],
    "fold_backward": [*_candidates, *[_pointer] * 4],
}


class Library:
    """The loaded kernels.

    Attributes:
        isas: the instruction sets that run here, slowest first.
        isa: the one in use.
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        if self._library.nastk_abi() != _ABI:
            raise OSError("it is of another version of nastk, install nastk again")
        self._library.nastk_share_threads.argtypes = [_pointer]
        self._library.nastk_share_threads(_torch_parallel())
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, f"nastk_{name}")
            function.argtypes, function.restype = [_int, _int, *arguments], _int
        names = _ARM if self._library.nastk_has_neon() else _X86
        bits = self._library.nastk_isas()
        self.isas = tuple(name for i, name in enumerate(names) if bits >> i & 1)
        self.isa = os.environ.get("NASTK_ISA") or self.isas[-1]
        if self.isa not in self.isas:
            raise ValueError(
                f"NASTK_ISA asks for {self.isa!r}, which does not run here; "
                f"available: {', '.join(self.isas)}"
            )

    def call(self, name: str, threads: int, *arguments: int | None, isa: str | None = None) -> None:
        """Run one kernel.

        Args:
            name: of the function, without its prefix.
            threads: upper bound on the threads it may use.
            arguments: addresses and numbers, as its C declaration lists them.
            isa: another instruction set than the one in use.

        Raises:
            MemoryError: if there is no room for its scratch memory.
        """
        index = self.isas.index(isa or self.isa)
        status = getattr(self._library, f"nastk_{name}")(index, threads, *arguments)
        if status == 2:
            raise MemoryError(f"no memory for the scratch of {name}")
        assert status == 0, f"{name} was called with sizes that `supports` refuses"


def _torch_parallel() -> int | None:
    """Return the address of the loop starter of torch's OpenMP, None where it has no such thing."""
    folder = Path(torch.__file__).with_name("lib")
    for path in [*folder.glob("libgomp*.so*"), None]:  # None: what the process has loaded
        try:
            starter = ctypes.CDLL(None if path is None else str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        return ctypes.cast(starter, ctypes.c_void_p).value
    return None


@functools.cache
def find() -> tuple[Library | None, str]:
    """Return the kernels, or None and one line that says why they are missing.

    Raises:
        ValueError: if NASTK_ISA names an instruction set that does not run here, or
            NASTK_KERNELS none of the ways to run.
    """
    if (wanted := forced()) not in (None, "compiled"):
        return None, f"switched off by NASTK_KERNELS={wanted}"
    paths = [Path(__file__).with_name(f"_native{suffix}") for suffix in EXTENSION_SUFFIXES]
    found = [path for path in paths if path.exists()]
    if not found:
        return None, "not built: install nastk again where a C++17 compiler (g++ or clang++) is"
    try:
        return Library(found[0]), ""
    except (OSError, AttributeError) as error:
        return None, f"{found[0].name} does not load: {error}"
