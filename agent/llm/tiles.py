"""Whether llama.cpp may use the processor's matrix unit (AMX) here; computes nothing itself."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

from agent.llm.native import library

_MARK = "rapport_tiles"
"""Exported by builds in which AMX works (tools/tiles.h); built by GCC 12 without it, its first use is a fault."""
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
"""Linux on x86-64: a process asks for the tiles before it uses them."""


def built_with() -> bool:
    """Whether this build of llama.cpp holds kernels for AMX, sound or not."""
    return b"AMX_INT8 = 1" in library().llama_print_system_info()


@cache
def usable() -> bool:
    """Whether those kernels are sound, and the processor and the system give the tiles to this process."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    if not built_with() or not hasattr(library()._lib, _MARK):
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0
