"""Files that hold a dataclass: back as they were, or one message with file and key."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpe.io.configs import from_dict, read_dataclass, to_dict
from hpe.io.errors import ConfigError, FileError


@dataclass(frozen=True)
class Inner:
    rate: float
    kind: Literal["a", "b"] = "a"


@dataclass
class Outer:
    epochs: int
    inner: Inner
    path: Path = Path("x")
    widths: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "one")
    names: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    target: int | float | None = None
    maybe: Inner | None = None
    flag: bool = False
    free: Any = None


GOOD = Outer(3, Inner(0.5, "b"), Path("a/b"), (1, 2), (4, "x"), ["n"], {"s": 1}, 2.5, Inner(1.0), True, [{}])


def test_back_as_it_was():
    assert from_dict(Outer, to_dict(GOOD)) == GOOD
    assert from_dict(Outer, {"epochs": 1, "inner": {"rate": 2}}) == Outer(1, Inner(2.0))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"epochs": "3"}, r'epochs is "3"; it must be a whole number'),
        ({"epochs": 3.5}, "epochs is 3.5"),
        ({"epochs": True}, "epochs is true"),
        ({"flag": 1}, "flag is 1; it must be true or false"),
        ({"inner": []}, r"inner is \[\]; it must be an object"),
        ({"inner": {}}, "inner: rate is missing"),
        ({"inner": {"rate": None}}, "inner.rate is null; it must be a number"),
        ({"inner": {"rate": 1, "kind": "c"}}, 'inner.kind is "c"; it must be one of "a", "b"'),
        ({"maybe": {"rate": "x"}}, "maybe.rate"),
        ({"widths": [1, "2"]}, r"widths\[1\]"),
        ({"widths": 3}, "widths is 3; it must be a list"),
        ({"pair": [1]}, "pair has 1 entries; it must be a list of 2"),
        ({"sizes": {"s": {}}}, r"sizes\.s"),
        ({"target": "x"}, "target is .*a whole number or a number or null"),
        ({"path": 3}, "path is 3; it must be a path"),
        ({"other": 1}, "unknown setting other"),
    ],
)
def test_one_message_with_file_and_key(tmp_path, change, what):
    values = to_dict(GOOD) | change
    with pytest.raises(ConfigError, match=what):
        from_dict(Outer, values)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(FileError, match=what) as caught:
        read_dataclass(Outer, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("; restore the file or make the run again")


def test_a_missing_key_and_a_file_of_another_kind(tmp_path):
    path = tmp_path / "config.json"
    for text, what in (("[1]", "Outer is"), ("{}", "epochs, inner is missing"), ("{", "not valid JSON")):
        path.write_text(text)
        with pytest.raises(FileError, match=what):
            read_dataclass(Outer, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from(sorted(to_dict(GOOD))), JSON)
def test_no_value_ends_in_another_error(key, value):
    try:
        from_dict(Outer, to_dict(GOOD) | {key: value})
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - the point is that nothing else is raised
