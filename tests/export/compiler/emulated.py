"""For tests that need the emulated Cortex-M4: the mark that skips them where it is not installed."""

import pytest

from export.compiler.emulator import missing_tools

needs_emulator = pytest.mark.skipif(
    bool(missing_tools()), reason=f"not installed (Debian: gcc-arm-none-eabi, qemu-system-arm): {missing_tools()}"
)
