"""A study that is killed at any write into its folder goes on, and ends as one that nothing happened to."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpe.io.files import read_json
from tests.hpe.study.killing import Nursery, Order, written
from tests.hpe.study.studies import DENSE, write_study

LATE = """
[[rows]]
name = "late"
prune = { method = "magnitude", final_sparsity = 0.75, begin_epoch = 4, end_epoch = 8, frequency = 1 }
"""
EARLY = """
[[rows]] # the second ends in the same bits as the first, and is a copy
name = "{begin_epoch}-{end_epoch}"
prune = { method = "magnitude", schedule = "constant", final_sparsity = 0.75 }
[rows.axes]
"prune.window" = [[0, 4], [0, 8]]
"""
TWIN = """
[[twins]]
of = ["late"]
equal = "macs"
"""
TIMED = ("seconds", "images_per_s", "latency")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    with Nursery(tmp_path_factory.mktemp("faces")) as born:
        yield born


def test_killed_at_any_write_nothing_is_lost(nursery, tmp_path):
    """Tasks that leave their results at once: plan, claims, beginnings, results."""
    whole = unbroken(nursery, tmp_path, DENSE, LATE, pretend=True)
    assert len(written(whole)) > 40
    check(nursery, whole, range(1, len(written(whole)) + 1))


@pytest.mark.slow  # minutes: some hundred studies of a second
def test_killed_at_any_write_the_trained_study_is_the_same(nursery, tmp_path):
    whole = unbroken(nursery, tmp_path, DENSE, LATE, EARLY, TWIN)
    check(nursery, whole, two_of_each_kind(written(whole)))


def unbroken(nursery: Nursery, folder: Path, *parts: str, **options: Any) -> Order:
    """A study of two epochs that nothing happened to."""
    toml = write_study(folder, *parts)
    toml.write_text(toml.read_text().replace("epochs = 4\n", "epochs = 2\n"))
    order = Order(str(toml), str(folder / "whole"), str(folder / "whole writes"), **options)
    assert nursery.run(order) == 0, Path(f"{order.out}.log").read_text()[-2000:]
    return order


def check(nursery: Nursery, whole: Order, numbers: Iterable[int]) -> None:
    """Kill the study before each of these writes, go on to its end, and compare what it leaves."""
    expected, writes, wrong = left(Path(whole.out)), written(whole), []
    for number in numbers:
        found = left(killed(nursery, whole, number))
        if differ := [name for name in {**expected, **found} if expected.get(name) != found.get(name)]:
            wrong.append(f"before write {number}, {writes[number - 1].strip()}: {', '.join(differ)}")
    assert not wrong, "\n".join(wrong)


def killed(nursery: Nursery, whole: Order, number: int) -> Path:
    """The folder of a study that was killed before a write and then gone on with."""
    out = Path(whole.out).with_name("killed")
    shutil.rmtree(out, ignore_errors=True)
    other = replace(whole, out=str(out), writes=f"{out} writes", kill_at=number)
    for name in (other.writes, f"{out}.log"):
        Path(name).unlink(missing_ok=True)
    assert nursery.run(other) == -9
    assert nursery.run(replace(other, kill_at=0)) == 0, f"{number}: {Path(f'{out}.log').read_text()[-2000:]}"
    return out


def left(out: Path) -> dict[str, Any]:
    """All that a study leaves beside logs and claims of processes that are gone; times are left out."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_dir() or name.startswith(("logs/", "claims/")) or "tensorboard" in name:
            continue
        if path.suffix == ".json":
            found[name] = untimed(read_json(path))
        elif path.suffix == ".csv":
            with open(path, newline="") as file:
                found[name] = [untimed(row) for row in csv.DictReader(file)]
        else:
            found[name] = path.read_bytes()
    return found


def untimed(value: Any) -> Any:
    """A result without what the clock says."""
    if not isinstance(value, dict):
        return value
    return {name: untimed(entry) for name, entry in value.items() if not any(word in name for word in TIMED)}


def two_of_each_kind(writes: list[str]) -> list[int]:
    """The numbers of the first and the last of all writes that are alike, random names and ids aside."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, name in enumerate(writes, 1):
        kind = re.sub(r"\d+@[\w-]+\.\w+|[0-9a-f]{10}|tfevents.*", "*", name.strip())
        first.setdefault(kind, number)
        last[kind] = number
    return sorted({*first.values(), *last.values()})
