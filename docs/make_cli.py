"""Write docs/cli.md from the parser: ``python docs/make_cli.py``."""

from collections.abc import Iterator
from pathlib import Path

import click

from emulators.cli import cli

HEAD = """# Command line

Written by `python docs/make_cli.py` from the parser; do not edit.

Energies on the command line are in GeV. Deposited energies in files are in MeV. Errors are one line
on stderr; the exit code is 0 (done), 1 (failed on the way, e.g. a training diverged), 2 (bad input:
nothing was written), 130 (Ctrl-C) or 143 (SIGTERM). `--debug` before the verb shows the traceback.
"""


def sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the help of a command and of all below it."""
    text = command.get_help(context).replace("\b", "")
    yield f"## `{context.command_path}`\n\n```text\n{text.strip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from sections(below, click.Context(below, context, name, terminal_width=100))


def page() -> str:
    """Return the page."""
    top = click.Context(cli, None, "emulators", terminal_width=100, **cli.context_settings)
    return "\n".join([HEAD, *sections(cli, top)])


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(page(), encoding="utf-8")
