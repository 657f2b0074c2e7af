"""The boards that `hpe footprint` and `hpe deploy` know: memory, clock, kernels, and what else takes flash and RAM.

Overheads are planning figures: the Arduino core, the sketch, the camera driver, stack and heap, as compiled programs
of that kind report them. Times were counted on an emulated Cortex-M4 (`export.micro.latency`); those of other
processors are scaled from it by the width of their int8 multiply-add and have not been measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.errors import ExportError
from export.micro.arena import CORTEX_M, MCU_32, Target


@dataclass(frozen=True)
class Board:
    """A board; bytes unless the name says otherwise. `target` is None on Linux, where LiteRT runs without an arena."""

    name: str
    title: str
    clock_mhz: int
    flash_bytes: int
    ram_bytes: int
    core_flash_bytes: int
    core_ram_bytes: int
    """Core, sketch, camera driver, stack and heap; the frame buffer comes on top."""
    frame_bytes: int
    """Of a camera; 0 for a sketch without one."""
    cycle_factor: tuple[float, float]
    """Cycles relative to a Cortex-M4's in the interpreter, for the least and the most time."""
    c_factor: tuple[float, float]
    """The same for a model that is compiled to C (at -O2, at -Os), relative to that C on a Cortex-M4 at -O2."""
    target: Target | None
    library: str

    @property
    def is_linux(self) -> bool:
        return self.target is None

    @property
    def uses_arduino_library(self) -> bool:
        """Whether its library is one of the two Arduino libraries of 2023 and 2024."""
        return self.library in (_ARDUINO, _CHIRALE)

    @property
    def flash_room_bytes(self) -> int:
        """For a model and its engine: less the core and the sketch."""
        return self.flash_bytes - self.core_flash_bytes

    @property
    def ram_room_bytes(self) -> int:
        """The same of RAM, less the camera's frame, too."""
        return self.ram_bytes - self.core_ram_bytes - self.frame_bytes

    def shortages(self, flash: int, ram: int) -> list[str]:
        """Why a model and its engine, which take these bytes, do not fit; empty where they do."""
        rows = (("flash", flash, self.flash_room_bytes), ("RAM", ram, self.ram_room_bytes))
        return [f"{memory} is {taken - room:,} bytes short" for memory, taken, room in rows if taken > room]


_ARDUINO = "Arduino_TensorFlowLite or Chirale_TensorFLowLite"
_CHIRALE = "Chirale_TensorFLowLite"
"""For Arduino boards other than the Nano 33 BLE: the header of Arduino_TensorFlowLite refuses to compile for them."""
_QQVGA_RGB565 = 160 * 120 * 2
_CORTEX_M4 = (1.0, 1.0)
_M7 = (0.5, 0.6)
_M4_C = (1.0, 1.13)
"""Counted: at -Os (what the Arduino IDE does) 4.5 to 9 % more instructions and, for relu6_pruned (in tests/data/micro),
7.8 % more cycles."""
_M7_C = (0.5, 0.68)
_M0_PLUS_C = (13.4, 19.0)
"""Counted: four models built for a Cortex-M0+, 12.4 to 16.1 at -O2 and up to 20 at -Os."""
_PORTABLE_C = (8.0, 12.0)
"""The portable kernels, counted on a Cortex-M4: relu6_pruned 7.7 at -O3, 9.7 at -O2, 11.8 at -Os. Not on this one."""
_NO_C = (1.0, 1.0)
"""Linux: nobody compiles a model to C there."""

_TABLE = (
    Board("nano33ble", "Arduino Nano 33 BLE Sense (nRF52840, Cortex-M4F)", 64, 983_040, 262_144, 110_000, 59_904,
          _QQVGA_RGB565, _CORTEX_M4, _M4_C, CORTEX_M, _ARDUINO),
    Board("nano33ble-rev2", "Arduino Nano 33 BLE Sense Rev2 (nRF52840, Cortex-M4F)", 64, 983_040, 262_144, 110_000,
          59_904, _QQVGA_RGB565, _CORTEX_M4, _M4_C, CORTEX_M, _ARDUINO),
    Board("portenta-h7", "Arduino Portenta H7 (STM32H747, Cortex-M7 core)", 480, 786_432, 523_624, 180_000, 90_000,
          _QQVGA_RGB565, _M7, _M7_C, CORTEX_M, _CHIRALE),
    Board("rp2040", "Raspberry Pi Pico or Nano RP2040 Connect (Cortex-M0+)", 133, 2_097_152, 270_336, 110_000, 50_000,
          _QQVGA_RGB565, (3.5, 5.0), _M0_PLUS_C, MCU_32, _CHIRALE),
    Board("esp32-s3", "ESP32-S3 (Xtensa LX7, ESP-NN kernels)", 240, 3_145_728, 327_680, 350_000, 90_000,
          _QQVGA_RGB565, (0.42, 1.0), _PORTABLE_C, MCU_32, "esp-tflite-micro or Chirale_TensorFLowLite"),
    Board("pi-zero2", "Raspberry Pi Zero 2 W (Cortex-A53)", 1000, 8_000_000_000, 512_000_000, 4_000_000_000,
          300_000_000, 640 * 480 * 3, (0.08, 0.29), _NO_C, None, "LiteRT"),
    Board("pi4", "Raspberry Pi 4 (Cortex-A72)", 1800, 8_000_000_000, 2_000_000_000, 4_000_000_000, 500_000_000,
          640 * 480 * 3, (0.038, 0.146), _NO_C, None, "LiteRT"),
    Board("pi5", "Raspberry Pi 5 (Cortex-A76)", 2400, 8_000_000_000, 2_000_000_000, 4_000_000_000, 500_000_000,
          640 * 480 * 3, (0.018, 0.056), _NO_C, None, "LiteRT"),
)  # fmt: skip
BOARDS = {board.name: board for board in _TABLE}


@dataclass(frozen=True)
class OpSupport:
    """How a microcontroller runs an op: the resolver's method, planning bytes of kernel code, cycles an element.

    `cycles` is (least, most) for each output element on a Cortex-M4: the least with the newest kernels at -O2, the most
    with the Arduino libraries at -Os. Convolutions and dense layers have their own in `export.micro.latency`.
    """

    method: str
    code_bytes: int
    cycles: tuple[float, float] = (30, 100)


# Kernel code adds up to 68,000 to 167,000 bytes of flash for the models of this project, base included.
INTERPRETER_CODE_BYTES = 40_000
OPS = {
    "CONV_2D": OpSupport("AddConv2D", 22_000),
    "DEPTHWISE_CONV_2D": OpSupport("AddDepthwiseConv2D", 18_000),
    "FULLY_CONNECTED": OpSupport("AddFullyConnected", 9_000),
    "ADD": OpSupport("AddAdd", 7_000, (100, 135)),
    "MUL": OpSupport("AddMul", 6_000, (100, 115)),
    "MEAN": OpSupport("AddMean", 9_000, (100, 150)),  # for each input element
    "LOGISTIC": OpSupport("AddLogistic", 2_000, (8, 15)),  # the sketch's table
    "HARD_SWISH": OpSupport("AddHardSwish", 5_000, (89, 130)),
    "PAD": OpSupport("AddPad", 5_000, (80, 80)),
    "AVERAGE_POOL_2D": OpSupport("AddAveragePool2D", 6_000),
    "MAX_POOL_2D": OpSupport("AddMaxPool2D", 6_000),
    "RESHAPE": OpSupport("AddReshape", 2_000, (1, 4)),
    "RELU": OpSupport("AddRelu", 4_000),
    "RELU6": OpSupport("AddRelu6", 4_000),
    "SUB": OpSupport("AddSub", 7_000, (100, 135)),
    "SUM": OpSupport("AddSum", 9_000, (100, 150)),
    "CONCATENATION": OpSupport("AddConcatenation", 4_000, (2, 10)),
    "TANH": OpSupport("AddTanh", 5_000, (300, 1200)),
    "LEAKY_RELU": OpSupport("AddLeakyRelu", 4_000),
    "PRELU": OpSupport("AddPrelu", 5_000),
    "SOFTMAX": OpSupport("AddSoftmax", 9_000, (300, 1200)),
    "MAXIMUM": OpSupport("AddMaximum", 5_000),
    "MINIMUM": OpSupport("AddMinimum", 5_000),
    "TRANSPOSE": OpSupport("AddTranspose", 4_000, (10, 60)),
    "STRIDED_SLICE": OpSupport("AddStridedSlice", 4_000, (2, 20)),
    "SQUEEZE": OpSupport("AddSqueeze", 2_000, (1, 4)),
    "EXPAND_DIMS": OpSupport("AddExpandDims", 2_000, (1, 4)),
    "QUANTIZE": OpSupport("AddQuantize", 5_000, (20, 60)),
    "DEQUANTIZE": OpSupport("AddDequantize", 4_000, (20, 60)),
}
LARGEST_KERNELS_BYTES = 167_000
PLANNED_MS = 340
"""A third of a second: what a net of 4 MMAC takes on a Nano 33 BLE with the newest kernels."""
CYCLES_PER_MAC = 5.5
"""Of such a network on a Cortex-M4, everything counted; smaller networks take more."""


def planned_limits(board: Board) -> dict[str, int]:
    """What a network may cost before there is a file of it: int8 bytes and multiply-accumulates.

    The bytes leave flash for the core, the sketch and the most that kernels take; the multiply-accumulates are those of
    PLANNED_MS at best. RAM depends on the operators: ask `export.micro.footprint` once there is a file.
    """
    flash = board.flash_bytes - board.core_flash_bytes - (0 if board.is_linux else LARGEST_KERNELS_BYTES)
    macs = PLANNED_MS * 1000 * board.clock_mhz / (CYCLES_PER_MAC * board.cycle_factor[0])
    return {"int8_bytes": flash, "macs": int(macs)}


def find_board(name: str) -> Board:
    """The board of that name; ExportError lists the names there are."""
    if name not in BOARDS:
        raise ExportError(f"There is no board {name!r}; --board takes one of {', '.join(BOARDS)}.")
    return BOARDS[name]
