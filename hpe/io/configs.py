"""Config dataclasses as plain values, back again, and the name that their content gives a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast

from hpe.io.errors import ConfigError, FileError
from hpe.io.files import read_json

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values: nested ones as dicts, tuples as lists, paths as text."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def from_dict(kind: type[C], values: Any) -> C:
    """The reverse of `to_dict`: every value is checked against its field's type, nested dataclasses included.

    A value of another type, an unknown key, or a missing one without a default raises ConfigError with the key.
    """
    return _dataclass(kind, values, "")


def read_dataclass(kind: type[C], path: str | os.PathLike) -> C:
    """The dataclass that a JSON file holds; FileError with the file, the key and the remedy where it does not."""
    try:
        return from_dict(kind, read_json(path))
    except ConfigError as error:
        raise FileError(f"{path}: {error}; restore the file or make the run again") from None


def run_id(*configs: Any) -> str:
    """Ten hex digits that name a run: the SHA-256 of its configs, key order aside."""
    text = json.dumps([to_dict(c) if dataclasses.is_dataclass(c) else c for c in configs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _dataclass(kind: type[C], values: Any, key: str) -> C:
    if not isinstance(values, dict):
        raise ConfigError(f"{key or kind.__name__} is {_shown(values)}; it must be an object of settings")
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind)) if field.init}
    if unknown := sorted(set(values) - set(fields)):
        known = ", ".join(sorted(fields))
        raise ConfigError(f"{key or kind.__name__}: unknown setting {', '.join(unknown)}; known are {known}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{key or kind.__name__}: {', '.join(missing)} is missing")
    hints = typing.get_type_hints(kind)
    prefix = f"{key}." if key else ""
    return kind(**{name: _value(hints[name], value, prefix + name) for name, value in values.items()})


def _value(hint: Any, value: Any, key: str) -> Any:
    """`value` as the type that `hint` names; ConfigError with the key where it is of another."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast(type, hint), value, key)
    if origin in (Union, types.UnionType):
        return _union(hint, arguments, value, key)
    if origin is Literal and any(value == choice and type(value) is type(choice) for choice in arguments):
        return value
    if origin in (list, tuple) and isinstance(value, list):
        return _sequence(hint, origin, arguments, value, key)
    if origin is dict and isinstance(value, dict):
        return {name: _value(arguments[1], entry, f"{key}.{name}") for name, entry in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{key} is {_shown(value)}; it must be {_kind(hint)}")


def _union(hint: Any, choices: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and type(None) in choices:
        return None
    real = [choice for choice in choices if choice is not type(None)]
    if len(real) == 1:
        return _value(real[0], value, key)  # its message names the key inside
    for choice in real:
        try:
            return _value(choice, value, key)
        except ConfigError:
            continue
    raise ConfigError(f"{key} is {_shown(value)}; it must be {_kind(hint)}")


def _sequence(hint: Any, origin: type, arguments: tuple[Any, ...], value: list[Any], key: str) -> Any:
    repeats = origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis)
    if not repeats and len(value) != len(arguments):
        raise ConfigError(f"{key} has {len(value)} entries; it must be {_kind(hint)}")
    hints = [arguments[0]] * len(value) if repeats else arguments
    return origin(_value(h, entry, f"{key}[{i}]") for i, (h, entry) in enumerate(zip(hints, value, strict=True)))


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def _kind(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    names |= {list: "a list", tuple: "a list", dict: "an object", type(None): "null"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(choice) for choice in arguments)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}"
    return names.get(origin or hint, getattr(hint, "__name__", str(hint)))
