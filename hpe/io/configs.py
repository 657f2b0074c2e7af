"""Config dataclasses as plain values, back again, and the name that their content gives a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hpe.io.errors import ConfigError, require

C = TypeVar("C")

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
"""What the types of settings are called in messages."""


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values: nested ones as dicts, tuples as lists, paths as text."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def from_dict(kind: type[C], values: Any) -> C:
    """The reverse of `to_dict`; nested configs are made too.

    Raises:
        ConfigError: if a setting is unknown, missing or of another type.
    """
    require(isinstance(values, dict), f"{kind.__name__}: {_shown(values)} stands where settings should be")
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(name) for name in set(values) - known)
    require(not unknown, f"{kind.__name__}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    try:
        return kind(**{name: _typed(hints[name], value, name) for name, value in values.items()})
    except TypeError as error:  # a setting without a default is missing
        raise ConfigError(f"{kind.__name__}: {error}") from None


def _typed(hint: Any, value: Any, name: str) -> Any:
    """A JSON value as the type of its setting."""
    if hint is Any:
        return value
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        others = [option for option in options if option is not type(None)]
        if type(value) in options or len(others) > 1:
            kinds = " or ".join(NAMES.get(option, str(option)) for option in others)
            require(type(value) in options, f"{name} is {_shown(value)}; it must be {kinds}")
            return value
        return _typed(others[0], value, name)
    if dataclasses.is_dataclass(hint):
        return from_dict(cast(Any, hint), value)
    if origin is Literal:
        require(value in options, f"{name} is {_shown(value)}; it must be one of {', '.join(map(str, options))}")
        return value
    if origin in (tuple, list):
        require(isinstance(value, list), f"{name} is {_shown(value)}; it must be a list")
        return origin(_typed(options[0], item, name) for item in value)
    if origin is dict:
        require(isinstance(value, dict), f"{name} is {_shown(value)}; it must be an object")
        return {key: _typed(options[1], item, name) for key, item in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    require(type(value) is hint, f"{name} is {_shown(value)}; it must be {NAMES.get(hint, hint)}")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def run_id(*configs: Any) -> str:
    """Ten hex digits that name a run: the SHA-256 of its configs, key order aside."""
    text = json.dumps([to_dict(c) if dataclasses.is_dataclass(c) else c for c in configs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
