"""The command `hpe`: which subcommand is meant, and how it ends. Each imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hpe.io.errors import HpeError, install
from hpe.io.processes import give_up_standard_output

DESCRIPTION = "Head pose on tiny devices: train, prune, quantise, measure. Start with `hpe demo`."
TRAIN = "torch torchvision timm torch_pruning scipy safetensors matplotlib tensorboard numba"
EXTRAS = {"train": TRAIN.split(), "vision": ["cv2"], "serial": ["serial", "cobs"], "mqtt": ["paho"], "ray": ["ray"]}
"""The modules of each optional extra; every other one that may be missing comes with `export`."""
Commands = Mapping[str, Any]
"""Subcommands by name: functions, or further groups of them."""


def commands() -> dict[str, Any]:
    """Every subcommand, in the order of the flow."""
    from hpe.cli import data, device, models, study, training

    everything = {"data": data.COMMANDS, "study": study.COMMANDS}
    everything |= training.COMMANDS | models.COMMANDS | device.COMMANDS
    first = ("demo", "data", *training.COMMANDS, "export", "evaluate", "report", "study")
    return {name: everything[name] for name in (*first, *(name for name in everything if name not in first))}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can fix ends in one message and exit code 2, all else in a traceback.

    With HPE_DEBUG=1 in the environment every error shows its traceback.
    """
    if sys.platform == "win32":
        _fail("Linux and macOS are supported; on Windows use its Linux subsystem (WSL)")
    try:
        dispatch("hpe", commands(), sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()  # here an error is explained; the interpreter, at its end, would show a traceback
    except BrokenPipeError:  # `hpe ... | head` has read enough
        give_up_standard_output()
        sys.exit(128 + 13)  # as a program that SIGPIPE ends
    except KeyboardInterrupt:
        print("hpe: interrupted; a training goes on after its last whole epoch with --resume", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = explained(error)
        if message is None or os.environ.get("HPE_DEBUG") == "1":
            raise
        _fail(message)


def dispatch(program: str, known: Commands, arguments: list[str]) -> None:
    """Run the subcommand that the first argument names, with the rest; list what there is where it names none."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(listing(program, known))
    elif name not in known:
        _fail(f"there is no command '{name}'; {program} --help lists them")
    elif isinstance(known[name], Mapping):
        dispatch(f"{program} {name}", known[name], arguments[1:])
    else:
        run(f"{program} {name}", known[name], arguments[1:])


def run(program: str, command: Callable[..., None], arguments: list[str]) -> None:
    """Parse the arguments of one command and run it."""
    import tyro

    from hpe.cli.settings_file import with_settings

    tyro.cli(command, prog=program, args=with_settings(program.split()[-1], command, arguments))


def listing(program: str, known: Commands) -> str:
    """The help of a group of commands: a line for each, from its docstring."""
    lines = [f"usage: {program} COMMAND [OPTIONS]", ""]
    lines += [DESCRIPTION, ""] if program == "hpe" else []
    for name, command in known.items():
        text = ", ".join(command) if isinstance(command, Mapping) else (command.__doc__ or "").strip().split("\n")[0]
        lines.append(f"  {name:<12} {text.split(' Example:')[0]}")
    lines += ["", f"{program} COMMAND --help explains each."]
    lines += ["--config FILE takes settings from a TOML file, or from the config.json of a run."]
    return "\n".join(lines)


def explained(error: Exception) -> str | None:
    """What to tell the user, or None for a bug, whose traceback is worth more."""
    from export.errors import ExportError

    bases = [HpeError, ExportError]
    if "pruning.errors" in sys.modules:  # it brings torch, which a Raspberry Pi does not have
        bases.append(sys.modules["pruning.errors"].PruningError)
    if isinstance(error, tuple(bases)):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.split(".")[0]
        if module in ("hpe", "pruning", "export"):
            return None
        extra = next((name for name, modules in EXTRAS.items() if module in modules), "export")
        return f"this needs {error.name}, which is not installed: {install(extra)}"
    if isinstance(error, OSError) and error.filename is None and (reason := _lost_output()) is not None:
        return f"standard output: {reason}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; close other programs, or give a smaller --batch-size"
    return None


def _lost_output() -> str | None:
    """Why standard output cannot be written, None where it can; the interpreter does not try again at its end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        give_up_standard_output()
        return error.strerror or str(error)
    return None


def _fail(message: str) -> None:
    print(f"hpe: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
