"""Reading only what one knows of a file to which others add."""

from dataclasses import dataclass, field

import pytest

from hpe.io.errors import FileError, require
from hpe.io.files import write_json
from hpe.io.records import from_json, known_part, read_record


@dataclass(frozen=True)
class Part:
    size: int
    """Above 0."""

    def __post_init__(self) -> None:
        require(self.size > 0, f"size is {self.size}; it must be above 0")


@dataclass(frozen=True)
class Whole:
    part: Part
    named: dict[str, Part] = field(default_factory=dict)
    several: tuple[Part, ...] = ()
    perhaps: Part | None = None
    limits: dict[str, int | str] = field(default_factory=dict)


def test_keys_of_others_are_left_out_at_every_depth(tmp_path):
    part = {"size": 1, "colour": "red"}
    values = {"part": part, "named": {"a": part}, "several": [part], "perhaps": part, "limits": {"x": "y"}, "other": []}
    whole = Whole(Part(1), {"a": Part(1)}, (Part(1),), Part(1), {"x": "y"})
    assert read_record(Whole, write_json(tmp_path / "f.json", values)) == whole
    assert read_record(Whole, write_json(tmp_path / "f.json", {"part": part})) == Whole(Part(1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"f\.json: Whole is \[\]"),
        ({"part": {"size": "1"}}, r"f\.json: part\.size is \"1\"; it must be a whole number; restore"),
        ({"part": {"size": 0}}, r"f\.json: size is 0; it must be above 0"),
        ({"part": {"size": 1}, "several": {}}, "several is {}"),
        ({"part": {"size": 1}, "perhaps": 3}, "perhaps is 3"),
        ({"part": {"size": 1}, "limits": {"x": 1.5}}, r"limits\.x is 1\.5"),
        ({}, "part is missing"),
    ],
)
def test_what_is_wrong_is_one_message_with_file_and_key(tmp_path, values, message):
    with pytest.raises(FileError, match=message):
        read_record(Whole, write_json(tmp_path / "f.json", values))


def test_values_that_are_not_projected_must_be_known():
    with pytest.raises(FileError, match="card: part: unknown setting colour"):
        from_json(Whole, {"part": {"size": 1, "colour": "red"}}, "card")
    assert known_part(int, "text") == "text"
