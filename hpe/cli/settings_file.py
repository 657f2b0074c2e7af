"""`--config FILE`: settings from a TOML or JSON file, such as the config.json that every run writes.

A setting becomes the flag of its name, wherever it stands in the file; flags that are typed win.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hpe.io.errors import ConfigError

NOTED = {"command", "lineage", "id"}
"""What a run's config.json says beside its settings."""


def with_settings(name: str, command: Callable[..., None], arguments: list[str]) -> list[str]:
    """The arguments with those of --config FILE put before them, where that is given.

    Raises:
        ConfigError: for a file that cannot be read, that another command wrote, or with a setting that is none here.
    """
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    if "--config" not in words or "config" in inspect.signature(command).parameters:
        return arguments
    place = words.index("--config")
    if place + 1 == len(words):
        raise ConfigError("--config needs a FILE: TOML, or the config.json of a run")
    path, typed = Path(words[place + 1]), words[:place] + words[place + 2 :]
    settings = _read(path)
    if settings.get("command", name) != name:
        raise ConfigError(f"--config {path}: written by hpe {settings['command']}, not by hpe {name}; use it there")
    flags, positional = known_settings(command)
    given = {word.split("=")[0].replace("--no-", "--") for word in typed if word.startswith("--")}
    before: list[str] = []
    for key, value in _leaves(settings, path):
        if key == "parent" or key in positional:
            if not typed or typed[0].startswith("-"):
                before.insert(0, str(value))
        elif key not in flags:
            raise ConfigError(f"--config {path}: there is no setting {key} in hpe {name}; its --help lists them")
        elif f"--{key.replace('_', '-')}" not in given:
            before += _flag(key, value)
    return before + typed


def known_settings(command: Callable[..., None]) -> tuple[set[str], set[str]]:
    """The names that a command takes as flags, and those that it takes by position."""
    flags: set[str] = set()
    positional: set[str] = set()
    for name, hint in get_type_hints(command, include_extras=True).items():
        if name == "return":
            continue
        markers = [str(marker) for marker in get_args(hint)[1:]] if get_origin(hint) is Annotated else []
        kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if any("Positional" in marker for marker in markers):
            positional.add(name)
        elif dataclasses.is_dataclass(kind):
            flags |= set(_fields(kind))
        else:
            flags.add(name)
    return flags, positional


def _fields(kind: Any) -> Iterator[str]:
    """The names of a config's settings, nested ones included."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _fields(hints[field.name])
        else:
            yield field.name


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        settings = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}; give a TOML file, or the config.json of a run") from None
    except ValueError as error:
        raise ConfigError(
            f"--config {path}: not valid {'JSON' if path.suffix == '.json' else 'TOML'} ({error})"
        ) from None
    if not isinstance(settings, dict):
        raise ConfigError(f"--config {path}: holds no settings; give a TOML file, or the config.json of a run")
    return settings


def _leaves(settings: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """Every setting of the file with its value; what is left out (null) is passed over."""
    for key, value in settings.items():
        if key in NOTED or value is None:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield key.replace("-", "_"), value


def _flag(key: str, value: Any) -> list[str]:
    """The words that give a flag its value."""
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)] if value else []
    return [f"--{name}", str(value)]
