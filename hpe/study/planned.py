"""What one run of a study is: its whole config, by which it is named, and its place in the study."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal

from hpe.io.configs import run_id, to_dict
from hpe.model.config import ModelConfig
from hpe.training.config import Recipe
from hpe.training.pruning_config import PruneConfig


@dataclass(frozen=True)
class TwinTarget:
    """What a twin is to be equal to; the number is read from the other run's result when the twin starts."""

    of: str
    """Id of the run that it is the twin of."""
    equal: str
    """int8_bytes, int8_gzip_bytes, flash, macs or cycles."""
    dense: str
    """Id of the dense run by which a figure is converted into what a pruner counts."""
    family: str
    """channel or width."""
    board: str
    """flash, cycles: on which board."""

    @property
    def aim(self) -> str:
        """What pruning counts of it: macs, cycles or int8_bytes."""
        return self.equal if self.equal in ("macs", "cycles") else "int8_bytes"


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run's files hold: its id is the hash of this."""

    model: ModelConfig
    recipe: Recipe
    prune: PruneConfig | None
    test: str
    """SPEC of the test faces."""
    calibration: str | None
    """SPEC of the faces that set int8 ranges; None: the training data."""
    formats: tuple[str, ...]
    """Files to make."""
    twin: TwinTarget | None = None

    @cached_property
    def id(self) -> str:
        """Ten hex digits."""
        return run_id(changed(self))

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.recipe.train.epochs


def changed(config: Any) -> Any:
    """What differs from the defaults in a config, nested ones included, as plain values.

    Ids are made of it, so that a setting that is added to the program later, with a default, leaves them as they are:
    a study then goes on in its folder.
    """
    if not is_dataclass(config):
        return to_dict(Plain(config))["value"]
    kept = {}
    for part in fields(config):
        value = getattr(config, part.name)
        default = part.default_factory() if part.default_factory is not MISSING else part.default
        if value != default:
            kept[part.name] = changed(value)
    return kept


@dataclass(frozen=True)
class Plain:
    """Holds a value for `to_dict`."""

    value: Any


@dataclass(frozen=True)
class PlannedRun:
    """A run in its place."""

    row: str
    """Name of the row, the same for all its seeds."""
    family: str
    """dense, magnitude, channel or hybrid."""
    role: str
    """row, twin, control or baseline."""
    seed: int
    settings: RunSettings
    twin: dict[str, str] | None = None
    """{"of": row, "equal": measure}."""
    labels: dict[str, Any] = field(default_factory=dict)
    """What distinguishes the row."""
    reference: dict[str, Any] | None = None
    """The published rows beside it: {"file": name, "line": [row numbers from 1]}."""
    against: str | None = None
    """The row that a report tests it against."""

    @property
    def id(self) -> str:
        """Of its settings."""
        return self.settings.id

    def entry(self) -> dict[str, Any]:
        """What plan.json says of it."""
        return {"id": self.id, **self.study(), "settings": to_dict(self.settings)}

    def study(self) -> dict[str, Any]:
        """What result.json says of it under "study"."""
        names = ("row", "family", "role", "seed", "twin", "labels", "reference", "against")
        return {name: getattr(self, name) for name in names}


Kind = Literal["beginning", "run"]


@dataclass(frozen=True)
class Task:
    """What one process does: the shared first epochs of some runs, or the rest of a run."""

    id: str
    kind: Kind
    name: str
    """For the table."""
    epochs: int
    """Until which epoch a beginning trains; all epochs of a run."""
    new_epochs: int
    """Those that no other task has trained."""
    needs: tuple[str, ...] = ()
    """Ids of tasks that must be done before."""
    beginning: str | None = None
    """The beginning that it goes on from."""
    same_as: str | None = None
    """The run whose training would end in the same bits: it is copied."""
    settings: RunSettings | None = None
