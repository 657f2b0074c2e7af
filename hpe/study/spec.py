"""What a study's TOML says: flat dataclasses, checked on reading; an unknown key is refused by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from export.convert.tflite import FORMATS
from export.micro.boards import BOARDS
from hpe.io.configs import from_dict
from hpe.io.errors import ConfigError, HpeError, require
from hpe.model.config import ModelConfig
from hpe.training.augment import AugmentConfig
from hpe.training.config import TrainConfig

Equal = Literal["int8_bytes", "int8_gzip_bytes", "flash", "macs", "cycles"]


class StudyError(HpeError, RuntimeError):
    """A study that cannot be run as asked; the message names the file or folder and the remedy."""


@dataclass(frozen=True)
class DataSpec:
    """Where the faces come from; folders as seen from where the command runs."""

    train: str
    """SPEC to train on, as in `hpe train --data`; `csv:faces@train#4000` takes 4,000 of them."""
    val: str
    """SPEC to watch and to choose by."""
    test: str
    """SPEC of the tables; read once, at the end of a run."""
    calibration: str | None = None
    """SPEC that sets the int8 ranges; left out: the training data."""
    skip_bad: bool = False
    """Leave out samples that cannot be read."""


@dataclass(frozen=True)
class RowSpec:
    """A row of the study, or, with axes, the rows of all their combinations."""

    name: str
    """What the row is called; with axes a pattern: "{schedule} {final_sparsity} {begin_epoch}-{end_epoch}"."""
    role: Literal["row", "control", "baseline"] = "row"
    """baseline: what the rest is measured against; control: what shows that a cause is the cause."""
    prune: dict[str, Any] = field(default_factory=dict)
    """As in a run's config.json; begin_epoch and end_epoch count in `schedule_epochs`. Empty: dense."""
    model: dict[str, Any] = field(default_factory=dict)
    """What differs from the study's model."""
    train: dict[str, Any] = field(default_factory=dict)
    """What differs from the study's training."""
    axes: dict[str, list[Any]] = field(default_factory=dict)
    """Dotted key ("prune.final_sparsity") -> its values; "prune.window" has pairs of begin and end epoch."""
    seeds: list[int] | None = None
    """Other seeds than the study's."""
    against: str | None = None
    """Name of the row that a report tests it against: what a control differs from in one thing."""

    def __post_init__(self) -> None:
        require(self.seeds != [], f"row '{self.name}': seeds is empty; leave it out, or give at least one")
        empty = [key for key, values in self.axes.items() if not values]
        require(not empty, f"row '{self.name}': axes {', '.join(empty)} has no values")
        seeded = "seed" in self.train or "train.seed" in self.axes
        require(not seeded, f"row '{self.name}': train.seed is not used; write seeds = [0, 1, ...] instead")


@dataclass(frozen=True)
class TwinSpec:
    """Networks of another family that are as large, or as fast, as given rows."""

    of: list[str]
    """Names of rows; * stands for anything."""
    equal: Equal
    """In what they are equal: raw with raw, gzip with gzip, flash with flash; macs counts non-zero weights alone."""
    family: Literal["channel", "width"] = "channel"
    """channel: channels removed on the row's own schedule. width: a narrower net, trained from scratch."""
    name: str = "{of} | {family} at equal {equal}"
    """What each is called."""
    role: Literal["twin", "control", "baseline"] = "twin"
    """Its part in the study."""
    channels: dict[str, Any] = field(default_factory=dict)
    """How channels are chosen, as in a run's config.json."""
    board: str = "nano33ble"
    """flash, cycles: on which board."""
    seeds: list[int] | None = None
    """Only these of the rows' seeds; left out: all."""


@dataclass(frozen=True)
class FilesSpec:
    """What is made of each trained network, and measured."""

    formats: list[str] = field(default_factory=lambda: ["fp32", "sparse", "dynamic", "int8"])
    """As in `hpe export --formats`; an empty list exports nothing."""
    keep: list[str] | None = None
    """Those that stay in the run folder when all is measured; left out: all."""
    tolerance_deg: float = 180.0
    """Refuse a quantised file that deviates further from torch; a study shows it instead."""
    boards: list[str] = field(default_factory=lambda: ["nano33ble"])
    """Boards to weigh the int8 file against."""
    latency_seconds: float = 2.0
    """How long each file is timed on this machine; 0 leaves it out."""

    def __post_init__(self) -> None:
        for name, given, known in (("formats", self.formats, FORMATS), ("boards", self.boards, BOARDS)):
            wrong = sorted(set(given) - set(known))
            require(not wrong, f"files.{name}: there is no {', '.join(wrong)}; there are {', '.join(known)}")


@dataclass(frozen=True)
class StudySpec:
    """A study."""

    name: str
    """A short name."""
    data: DataSpec
    """The faces."""
    title: str = ""
    """What a page is headed with."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Each row is run once for each."""
    more_seeds: dict[str, list[int]] = field(default_factory=dict)
    """Name of a row, * for anything -> seeds that it is run with besides."""
    extends: list[str] = field(default_factory=list)
    """Names of the studies that this one holds whole, the last one first: it may go on in their folder."""
    schedule_epochs: int | None = None
    """begin_epoch and end_epoch of rows count in a training of N epochs; left out: in train.epochs."""
    reference: str | None = None
    """A CSV of published rows to stand beside, from the folder of the TOML that says so: schedule, ..."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network of every row."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training of every row; seeds stand in `seeds`."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How training images vary."""
    files: FilesSpec = field(default_factory=FilesSpec)
    """What is made of the trained networks."""
    rows: list[RowSpec] = field(default_factory=list)
    """What is trained."""
    twins: list[TwinSpec] = field(default_factory=list)
    """What is trained to be equal to some of it."""

    def __post_init__(self) -> None:
        require(bool(self.rows), "there are no rows; add [[rows]]")
        require(bool(self.seeds), "seeds is empty; give at least one, such as seeds = [0]")
        require(self.train.seed == 0, "train.seed is not used; write seeds = [0, 1, ...] instead")
        wrong = sorted(set(self.files.keep or []) - set(self.files.formats))
        require(not wrong, f"files.keep: {', '.join(wrong)} is not among files.formats")


LISTS = ("rows", "twins")


def read_study(path: Path) -> StudySpec:
    """The study of a TOML file. One that begins with `extends = "OTHER.toml"` holds all that the other does, and more:
    its rows, twins and more_seeds are added, other keys take the place of the other's, those of tables one by one.

    Raises:
        StudyError: the file cannot be read, or says what cannot be used; the message names file and key.
    """
    try:
        return from_dict(StudySpec, _values(path, ()))
    except ConfigError as error:
        raise StudyError(f"{path}: {error}") from None


def _values(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The keys of a study's file, with those of the studies that it extends."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}; give the study's .toml file") from None
    except ValueError as error:
        raise StudyError(f"{path}: not valid TOML ({error})") from None
    other = values.pop("extends", None)
    if other is None:
        return values
    if not isinstance(other, str) or path in above:
        raise StudyError(f"{path}: extends is {other!r}; it must name another study's file")
    base = _values(path.parent / other, (*above, path))
    if "reference" in base:
        base["reference"] = str(Path(other).parent / base["reference"])
    added = {name: base.get(name, []) + values.get(name, []) for name in LISTS}
    more = _joined(base.get("more_seeds", {}), values.get("more_seeds", {}))
    added |= {"more_seeds": more} if more else {}
    return _merged(base, values) | added | {"extends": [base.get("name", ""), *base.get("extends", [])]}


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`base` with `values` in its place, key by key in tables."""
    both = {
        key: _merged(base[key], value) for key, value in values.items() if _is_table(value) and _is_table(base.get(key))
    }
    return base | values | both


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _joined(base: Any, more: Any) -> Any:
    """Lists by name, those of both; what is no such table is left for the checks that follow."""
    if not all(_is_table(table) and all(isinstance(seeds, list) for seeds in table.values()) for table in (base, more)):
        return more
    return {name: list(dict.fromkeys([*base.get(name, []), *more.get(name, [])])) for name in [*base, *more]}
