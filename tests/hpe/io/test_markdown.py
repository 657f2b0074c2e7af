import pytest

from hpe.io.markdown import markdown_table


def test_numbers_stand_to_the_right_and_cells_stay_in_their_columns():
    table = markdown_table(("model", "kind", "MAE"), [("b0", "a|b", "2.77"), ("two\nlines", "", "3")], text=2)
    assert table == "| model | kind | MAE |\n|---|---|---:|\n| b0 | a\\|b | 2.77 |\n| two lines |  | 3 |"


def test_a_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="2 cells under 3 headings"):
        markdown_table(("a", "b", "c"), [("1", "2")])
