"""The examples in public docstrings are what the functions give."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import emulators

ROOT = Path(emulators.__file__).parent
MODULES = [
    info.name
    for info in pkgutil.walk_packages([str(ROOT)], "emulators.")
    if not info.ispkg
    and ">>> " in (ROOT.parent / (info.name.replace(".", "/") + ".py")).read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted > 0
    assert result.failed == 0


def test_there_are_examples():
    assert len(MODULES) >= 6
