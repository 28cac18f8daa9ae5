"""The ground plan of the house: who may import whom, how large a room may be, what import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import emulators

PACKAGE = Path(emulators.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(f.relative_to(PACKAGE)) for f in FILES]
LARGEST = 450  # lines; a file over about 400 wants to be two rooms

# Ground first; a room may import rooms of lower floors, and its own modules.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "pretrained"),
    ("random", "config", "progress"),
    ("data",),
    ("observables", "simulators", "starts"),
    ("networks",),
    ("emulator",),
    ("loading",),
    ("training", "generation", "export"),
    ("benchmarks",),
    ("commands",),
    ("cli_data",),
    ("cli",),
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room(module: str) -> str | None:
    """Return the room that a module lies in, None for the package itself."""
    parts = module.split(".")[1:]
    return next((r for r in (".".join(parts[:2]), ".".join(parts[:1])) if r in FLOOR), None)


def imported(file: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "emulators"}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_rooms_import_only_rooms_below(file):
    here = room(module_of(file))
    if file == PACKAGE / "__init__.py":
        return  # its imports are for type checkers; what it costs is tested below
    assert here is not None, f"{file.name} is in no room: give it a floor in DESIGN and here"
    for name in sorted(imported(file)):
        there = room(name)
        if there is not None and there != here:
            assert FLOOR[there] < FLOOR[here], f"{here} must not import {there}"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_rooms_are_small(file):
    assert len(file.read_text().splitlines()) <= LARGEST


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_nothing_plots_on_import(file):
    body = ast.parse(file.read_text()).body
    tops = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {a.name for n in tops for a in n.names} | {getattr(n, "module", None) for n in tops}
    assert not [n for n in names if n and n.split(".")[0] == "matplotlib"]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import emulators", ("torch", "matplotlib", "h5py", "scipy", "astropy", "numpy")),
        ("import emulators.cli", ("torch", "matplotlib", "h5py", "scipy", "astropy", "numpy")),
        (
            "from emulators import load, generate_file; import emulators.training.loop",
            ("matplotlib",),
        ),
    ],
)
def test_import_is_light(statement, absent):
    code = f"{statement}; import sys; print(sorted(set({absent!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names():
    assert len(emulators.__all__) <= 10
    assert emulators.__all__ == sorted(emulators.__all__)
    for name in emulators.__all__:
        assert getattr(emulators, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = emulators.nonsense
