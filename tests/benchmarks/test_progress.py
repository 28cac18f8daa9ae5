import sys

import pytest

from emulators.progress import showing, tracked


@pytest.mark.parametrize(
    ("asked", "terminal", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_bars_are_for_terminals_and_where_they_are_asked_for(
    monkeypatch, capsys, asked, terminal, shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with showing(asked):
        assert [*tracked(range(3), "halvings")] == [0, 1, 2]
    assert ("halvings" in capsys.readouterr().err) == shown
