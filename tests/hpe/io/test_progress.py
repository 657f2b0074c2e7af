"""Progress on a terminal."""

import pytest

from hpe.io.progress import progress_bar


@pytest.mark.parametrize("title", ["reading [/data/faces]", "row dense [late]"])
def test_brackets_in_a_title_are_no_markup(capsys, monkeypatch, title):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with progress_bar(title, 2) as advance:
        advance()
    assert title in capsys.readouterr().err
