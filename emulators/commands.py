"""How the command line speaks: one line an error, exit codes, counts, examples."""

import contextlib
import inspect
import itertools
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from emulators.errors import InputError

__all__ = [
    "PATH",
    "Commands",
    "Count",
    "Echo",
    "Verb",
    "conditions_of",
    "examples",
    "given_as_option",
    "numbered_run",
    "print_once",
    "whole_numbers",
]

PATH = click.Path(path_type=Path)  # whether it exists is checked where it is opened
_BAD_INPUT, _FAILED = 2, 1
_STOPS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked the program to stop: SIGTERM ends what runs as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number  # as shells have it: 130, 143


class Echo(logging.Handler):
    """Progress that the library logs, as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        click.echo(self.format(record), err=True)


class Commands(click.Group):
    """A group whose errors are one line each, and whose exit codes say what went wrong."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and leave with an exit code that says how it went."""
        kwargs["standalone_mode"] = False
        try:
            with _stopping():
                code = super().main(*args, **kwargs)
        except click.UsageError as error:
            where = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
            _fail(error.format_message().rstrip(".") + where, _BAD_INPUT)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except click.Abort as error:
            sys.exit(getattr(error.__cause__, "exit_code", 128 + signal.SIGINT))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; whatever it raises becomes one line."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            raise click.Abort from error
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, InputError):
                _fail(str(error), _BAD_INPUT)
            if isinstance(error, RuntimeError | OSError | MemoryError):
                _fail(str(error) or type(error).__name__, _FAILED)
            name = type(error).__name__
            _fail(f"{name}: {error}; a bug: please report what --debug prints", _FAILED)


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Make the signals that ask a program to stop raise `Stopped`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Verb(click.Group):
    """A verb with verbs of its own below it: what does not begin with one of those is for itself.

    Parameters
    ----------
    itself
        What ``emulators verb ARGUMENTS`` does; its help is that of the whole.
    below
        What ``emulators verb NAME ARGUMENTS`` does, by the names of the commands.
    """

    def __init__(self, itself: click.Command, below: Sequence[click.Command]) -> None:
        commands = {str(command.name): command for command in below}
        super().__init__(itself.name, commands, help=itself.help, short_help=itself.short_help)
        self.itself = itself

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put an empty name before arguments that are for the verb itself."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name; of the empty one, the verb itself."""
        return super().get_command(ctx, cmd_name) if cmd_name else self.itself

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how the verb itself is used, and those below it."""
        for command in (self.itself, *self.commands.values()):
            path = f"{ctx.command_path} {command.name if command is not self.itself else ''}"
            pieces = " ".join(command.collect_usage_pieces(ctx))
            prefix = "Usage: " if command is self.itself else "       "
            formatter.write_usage(path.strip(), pieces, prefix)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the verb itself, then the commands below it."""
        self.itself.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)


class Count(click.ParamType[int]):
    """How many: 1000, 1_000_000 or 1e6."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; a usage error where it is none."""
        try:
            number = float(str(value).replace("_", ""))
        except ValueError:
            number = -1.0
        if not (number >= 1 and number == int(number)):
            self.fail(f"{value!r} is not a whole number of at least 1, such as 100000 or 1e5")
        return int(number)


def conditions_of(
    rest: Sequence[str], named: Sequence[str], names: Sequence[str]
) -> dict[str, str]:
    """Return what is asked of each condition, by its name.

    Parameters
    ----------
    rest
        Shorthands: ``--sigma-8 0.8`` or ``--sigma_8=0.8`` for ``sigma_8``, ``--energy`` also for
        ``incident_energy``.  A usage error where one stands for several names or none.
    named
        ``"sigma_8=0.8"``: the name as it is.
    names
        The conditions that there are.
    """
    asked: dict[str, str] = {}

    def ask(name: str, value: str) -> None:
        if name in asked:
            raise click.UsageError(f"condition '{name}' is given twice")
        asked[name] = value

    for word in named:
        name, equals, value = word.partition("=")
        if name not in names or not equals:
            known = ", ".join(f"{n}=LAW" for n in names) or "it has none"
            raise click.UsageError(f"--condition '{word}' names no condition: {known}")
        ask(name, value)
    words = [part for word in rest for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    for option, value in itertools.zip_longest(words[::2], words[1::2]):
        meant = [n for n in names if option in _shorthands(n)]
        if not meant:
            known = ", ".join(_shown(n) for n in names) or "it has none"
            raise click.UsageError(f"'{option}' is neither an option nor a condition: {known}")
        if len(meant) > 1:
            ways = " or ".join(f"--condition {n}=LAW" for n in meant)
            raise click.UsageError(f"'{option}' may stand for several conditions: give {ways}")
        if value is None:
            raise click.UsageError(f"{option} needs a value: a number or a law, such as 0.2:0.4")
        ask(meant[0], value)
    return asked


def _shorthands(name: str) -> list[str]:
    """Return the options that may stand for a condition, the one to show last."""
    energy = ["--energy"] if name == "incident_energy" else []
    return [f"--{name}", f"--{name.replace('_', '-')}", *energy]


def _shown(name: str) -> str:
    """Return how a condition is best asked for."""
    return f"--condition {name}=LAW" if _namesakes(name) else _shorthands(name)[-1]


def _namesakes(name: str) -> dict[str, click.Parameter]:
    """Return the options of this command that are called as a condition is; `energy` is for one."""
    context = click.get_current_context(silent=True)
    parameters = context.command.params if context else []
    options = {option: p for p in parameters for option in p.opts if option != "--energy"}
    return {o: p for o, p in options.items() if o in (f"-{name}", *_shorthands(name))}


def given_as_option(name: str) -> str:
    """Return the option of this command that is called as a condition and was given, if any."""
    source = click.get_current_context().get_parameter_source
    for option, parameter in _namesakes(name).items():
        if source(parameter.name or "") is ParameterSource.COMMANDLINE:
            return option
    return ""


def whole_numbers(text: str, count: int) -> tuple[int, ...]:
    """Return ``count`` whole numbers: ``512`` stands for all of them, ``512x512x64`` for three."""
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) for part in parts) or len(parts) not in (1, count):
        raise click.UsageError(f"'{text}' is neither one number nor {count}, such as 512x512")
    return tuple(int(part) for part in (parts * count if len(parts) == 1 else parts))


def examples(*lines: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put examples below the help text of a verb."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        text = "\n".join(f"  {line}" for line in lines)
        function.__doc__ = f"{inspect.getdoc(function)}\n\n\b\nExamples:\n{text}"
        return function

    return add


def print_once(text: object) -> None:
    """Print, but by the first process of torchrun alone."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(text)


def numbered_run(recipe: Path) -> Path:
    """Return the first folder ``runs/<recipe>-<number>`` that is not taken."""
    taken = [
        int(match[1])
        for folder in Path("runs").glob(f"{recipe.stem}-*")
        if (match := re.fullmatch(rf"{re.escape(recipe.stem)}-(\d+)", folder.name))
    ]
    return Path("runs") / f"{recipe.stem}-{max(taken, default=0) + 1}"
