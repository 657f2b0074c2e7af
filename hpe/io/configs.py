"""Config dataclasses as plain values, back again, and the name that their content gives a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, TypeVar

from hpe.io.errors import ConfigError, require

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values: nested ones as dicts, tuples as lists, paths as text."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def from_dict(kind: type[C], values: dict[str, Any]) -> C:
    """The reverse of `to_dict`; an unknown or missing key raises ConfigError."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    require(not unknown, f"{kind.__name__}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from None


def run_id(*configs: Any) -> str:
    """Ten hex digits that name a run: the SHA-256 of its configs, key order aside."""
    text = json.dumps([to_dict(c) if dataclasses.is_dataclass(c) else c for c in configs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
