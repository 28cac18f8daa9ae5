"""What README.md says is what happens."""

import runpy
import shlex
from pathlib import Path

import click
import pytest

from emulators.cli import cli
from emulators.commands import Verb

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.partition("\n")[::2] for block in TEXT.split("```")[1::2]]
COMMANDS = [
    line.split("  #")[0].removeprefix(".venv/bin/")
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.startswith(".venv/bin/emulators")
]


def test_there_is_something_to_run_near_the_top():
    assert "```bash" in "\n".join(TEXT.splitlines()[:35])
    assert len(COMMANDS) >= 6


def test_the_python_block_runs():
    (code,) = (block for language, block in BLOCKS if language == "python")
    found: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), found)
    assert found["showers"].values.shape == (1000, 504)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_have_these_verbs_and_options(line):
    words, command = shlex.split(line)[1:], cli
    while isinstance(command, click.Group):
        below = isinstance(command, Verb) and words[0] not in command.commands
        command = command.itself if below else command.commands[words.pop(0)]
    context = click.Context(command, **{**cli.context_settings, **command.context_settings})
    command.make_parser(context).parse_args(words)


def test_the_results_are_the_published_ones():
    assert runpy.run_path(str(ROOT / "docs" / "make_results.py"))["readme"]() == TEXT


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")):
        for target in page.read_text(encoding="utf-8").split("](")[1:]:
            name = target.split(")")[0].split("#")[0]
            if name and not name.startswith("http"):
                assert (page.parent / name).exists(), f"{page.name}: {name}"
