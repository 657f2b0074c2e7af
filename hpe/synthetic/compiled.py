"""The decorator of the renderer's loops: numba compiles them at their first call and keeps the machine code on disk.

Compiling takes about 15 seconds, once on a machine; a later process loads the code in some two. It lies in
`__pycache__` beside the source, or in the user's cache folder where that cannot be written, or in $NUMBA_CACHE_DIR.
Numba looks for changes in a function's own file alone before it uses kept code: so a compiled function calls no
function and reads no constant of another file. There are no threads, and a picture is the same with any number of them.
"""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable) -> Any:
    """The function in machine code; kept in memory alone where no cache folder can be written."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder for it
        return njit(**options)(function)
