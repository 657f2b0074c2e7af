"""`--config FILE`: settings from a TOML or JSON file, such as the config.json that every run writes.

A setting becomes the flag of its name, wherever it stands in the file; flags that are typed win.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hpe.io.errors import ConfigError

NOTED = {"command", "lineage", "id"}
"""What a run's config.json says beside its settings."""


def with_settings(name: str, command: Callable[..., None], arguments: list[str]) -> list[str]:
    """The arguments with those of --config FILE before the first typed flag, where that is given.

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
    if "command" in settings and "model" not in inspect.signature(command).parameters:
        settings.pop("model", None)  # what a run that began with another's network notes of that
    known = known_settings(command)
    given = {word.split("=")[0].replace("--no-", "--") for word in typed if word.startswith("--")}
    places = list(takewhile(lambda word: not word.startswith("-"), typed))
    places_typed, words = len(places), []
    for key, value in _leaves(settings, path):
        if key == "parent" or key in known.positional:
            if not places_typed:
                places += map(str, value if isinstance(value, list) else [value])
        elif key not in known.flags:
            raise ConfigError(f"--config {path}: there is no setting {key} in hpe {name}; its --help lists them")
        elif f"--{key.replace('_', '-')}" not in given and not (value is False and key in known.without_no):
            words += _flag(key, value)
    return places + words + typed[places_typed:]


@dataclass
class Known:
    """The names of what a command can be told."""

    flags: set[str] = field(default_factory=set)
    """By a flag."""
    without_no: set[str] = field(default_factory=set)
    """Those of them that have no --no- to turn them off, and need none."""
    positional: set[str] = field(default_factory=set)
    """By position."""


def known_settings(command: Callable[..., None]) -> Known:
    """The names of a command's settings."""
    known = Known()
    for name, hint in get_type_hints(command, include_extras=True).items():
        if name == "return":
            continue
        markers = [str(marker) for marker in get_args(hint)[1:]] if get_origin(hint) is Annotated else []
        kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if any("Positional" in marker for marker in markers):
            known.positional.add(name)
        elif dataclasses.is_dataclass(kind):
            known.flags |= set(_fields(kind))
        else:
            known.flags.add(name)
        if any("FlagCreatePairsOff" in marker for marker in markers):
            known.without_no.add(name)
    return known


def _fields(kind: Any) -> Iterator[str]:
    """The names of a config's settings, nested ones included."""
    hints = get_type_hints(kind)
    for each in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[each.name]):
            yield from _fields(hints[each.name])
        else:
            yield each.name


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
