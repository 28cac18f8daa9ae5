"""The command line: each verb parses, calls, prints."""

import logging
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from emulators import __version__
from emulators.errors import InputError

__all__ = ["cli", "main"]

_EXISTING = click.Path(path_type=Path)  # whether it exists is checked by what reads it
_BAD_INPUT, _FAILED, _INTERRUPTED = 2, 1, 130


class _Echo(logging.Handler):
    """Progress that the library logs, as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


class _Commands(click.Group):
    """A group whose errors are one line each, and whose exit codes say what went wrong."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.UsageError as error:
            where = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
            _fail(error.format_message() + where, _BAD_INPUT)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except click.Abort:
            sys.exit(_INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise click.Abort from None
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, InputError):
                _fail(str(error), _BAD_INPUT)
            if isinstance(error, RuntimeError | OSError | MemoryError):
                _fail(str(error) or type(error).__name__, _FAILED)
            name = type(error).__name__
            _fail(f"{name}: {error}; a bug: please report what --debug prints", _FAILED)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)


class _Count(click.ParamType[int]):
    """How many: 1000, 1_000_000 or 1e6."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = float(str(value).replace("_", ""))
        except ValueError:
            number = -1.0
        if not (number >= 1 and number == int(number)):
            self.fail(f"{value!r} is not a whole number of at least 1, such as 100000 or 1e5")
        return int(number)


def _examples(*lines: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put examples below the help text of a verb."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        text = "\n".join(f"  {line}" for line in lines)
        function.__doc__ = f"{function.__doc__}\n\n\b\nExamples:\n{text}"
        return function

    return add


def _numbered_run(recipe: Path) -> Path:
    """Return the first folder ``runs/<recipe>-<number>`` that is not taken."""
    taken = [
        int(match[1])
        for folder in Path("runs").glob(f"{recipe.stem}-*")
        if (match := re.fullmatch(rf"{re.escape(recipe.stem)}-(\d+)", folder.name))
    ]
    return Path("runs") / f"{recipe.stem}-{max(taken, default=0) + 1}"


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emulators")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and debug messages.")
def cli(debug: bool) -> None:
    """Replace a slow physics simulation by a trained GAN, and know how good the replacement is.

    Files are HDF5 in the layout of the simulation (CaloGAN, CaloChallenge). Units: deposited
    energies in MeV, incident energies on the command line in GeV.
    """
    logger = logging.getLogger("emulators")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not any(isinstance(handler, _Echo) for handler in logger.handlers):
        logger.addHandler(_Echo())


@cli.group(cls=_Commands)
def data() -> None:
    """Look at, check, convert and split files of samples."""


_layout = click.option("--layout", help="Layout of FILE; default: recognised by its keys.")


@data.command("info")
@click.argument("file", type=_EXISTING)
@_layout
@_examples("emulators data info photons.h5", "emulators data info --layout calogan photons.h5")
def data_info(file: Path, layout: str | None) -> None:
    """Say what FILE holds: layout, geometry, number of samples, conditions with unit and range."""
    from emulators.data.check import describe

    click.echo(describe(file, layout))


@data.command("check")
@click.argument("file", type=_EXISTING)
@_layout
@_examples("emulators data check photons.h5", "emulators data check --layout calogan photons.h5")
def data_check(file: Path, layout: str | None) -> None:
    """Look for NaN, negative or impossible energies, wrong shapes and units in FILE.

    Prints one line a finding, with the rows where it is. Exit code 2 if anything is an error.
    """
    from emulators.data.check import check

    findings = check(file, layout)
    for finding in findings:
        click.echo(str(finding))
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise InputError(f"{file}: {errors} error{'s' * (errors > 1)} found")
    click.echo(f"{file}: no errors, {len(findings)} warnings")


@data.command("convert")
@click.argument("source", type=_EXISTING)
@click.argument("target", type=_EXISTING)
@click.option("--layout", required=True, help="Layout to write, e.g. calochallenge.")
@click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists.")
@_examples(
    "emulators data convert photons.h5 photons-cc.h5 --layout calochallenge",
    "emulators data convert dataset_2_1.hdf5 native.h5 --layout calochallenge --overwrite",
)
def data_convert(source: Path, target: Path, layout: str, overwrite: bool) -> None:
    """Write the samples of SOURCE to TARGET in another layout; energies keep their values."""
    from emulators.data.convert import convert

    convert(source, target, layout, overwrite=overwrite)
    click.echo(target)


@data.command("split")
@click.argument("file", type=_EXISTING)
@click.option("-o", "--output", type=_EXISTING, required=True, help="Folder for the three files.")
@click.option("--validation", default=0.05, show_default=True, help="Fraction of samples.")
@click.option("--test", default=0.25, show_default=True, help="Fraction of samples.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split.")
@click.option("--overwrite", is_flag=True, help="Replace the files if they exist.")
@_examples(
    "emulators data split photons.h5 -o photons/",
    "emulators data split photons.h5 -o photons/ --validation 0.1 --test 0.5 --seed 3",
)
def data_split(
    file: Path, output: Path, validation: float, test: float, seed: int, overwrite: bool
) -> None:
    """Split FILE at random into train, validation and test files.

    With the default fractions and seed these are the rows that a training uses for each.
    """
    from emulators.data.convert import split

    for path in split(file, output, validation, test, seed, overwrite=overwrite).values():
        click.echo(path)


@cli.command("train")
@click.argument("recipe", type=_EXISTING, required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
@click.option("--run", type=_EXISTING, help="Folder to write; default: runs/<recipe>-<number>.")
@click.option("--resume", type=_EXISTING, metavar="RUN", help="Go on with an interrupted run.")
@click.option("--dry-run", is_flag=True, help="Check everything, train nothing.")
@_examples(
    "emulators train photons.toml --set training.minutes=30 --set data.path=photons.h5",
    "emulators train --resume runs/photons-1",
    "torchrun --nproc-per-node 4 -m emulators.cli train photons.toml --run runs/photons",
)
def train(
    recipe: Path | None,
    settings: Sequence[str],
    run: Path | None,
    resume: Path | None,
    dry_run: bool,
) -> None:
    """Train an emulator as RECIPE (a TOML file) says; energies in a recipe are MeV and GeV.

    Writes a run folder with metrics, checkpoints and emulator.pt. Ctrl-C and SIGTERM save the
    state, and --resume goes on from it.
    """
    from emulators.training import loop
    from emulators.training.recipe import read_recipe

    if (recipe is None) == (resume is None):
        raise click.UsageError("give either a RECIPE or --resume RUN")
    if resume is not None:
        click.echo(loop.resume(resume))
        return
    assert recipe is not None
    plan = read_recipe(recipe, settings)
    if dry_run:
        click.echo(loop.dry_run(plan))
        return
    click.echo(loop.train(plan, run or _numbered_run(recipe), progress=True))


@cli.command("generate")
@click.argument("emulator")
@click.option("-n", "n", type=_Count(), help="How many samples: 100000, 100_000 or 1e5.")
@click.option("-o", "--output", type=_EXISTING, required=True, help="HDF5 file to write.")
@click.option("--energy", metavar="GEV", help="One energy, 50, or a law, 1:100:log|linear; GeV.")
@click.option("--conditions", type=_EXISTING, help="HDF5 file whose conditions are taken in order.")
@click.option("--seed", default=0, show_default=True, help="Sample i depends on (seed, i) alone.")
@click.option("--allow-extrapolation", is_flag=True, help="Accept energies outside training.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--device", help="cpu, cuda, cuda:1 ...; default: a GPU where there is one.")
@_examples(
    "emulators generate photon-showers -n 100000 --energy 1:100:log -o showers.h5",
    "emulators generate runs/photons-1 -n 1e6 --energy 50 --seed 7 -o showers-50GeV.h5",
    "emulators generate photon-showers --conditions photons.h5 -o same-energies.h5",
)
def generate(
    emulator: str,
    n: int | None,
    output: Path,
    energy: str | None,
    conditions: Path | None,
    seed: int,
    allow_extrapolation: bool,
    overwrite: bool,
    device: str | None,
) -> None:
    """Generate samples with EMULATOR into a file of the layout that it was trained on.

    EMULATOR is a pretrained name (see: emulators list), a file or a run folder. Incident energies
    are in GeV, deposits are written in MeV. An interrupted command goes on where it stopped when
    it is given again.
    """
    from emulators.emulator import load
    from emulators.generation import generate_file

    loaded = load(emulator, device)
    began = time.perf_counter()
    generate_file(
        loaded,
        n,
        output,
        conditions=conditions or {"incident_energy": energy},
        seed=seed,
        overwrite=overwrite,
        allow_extrapolation=allow_extrapolation,
        progress=True,
    )
    click.echo(f"{output}: {time.perf_counter() - began:.1f} s with {loaded.name}")


@cli.command("benchmark")
@click.argument("generated", type=_EXISTING)
@click.argument("reference", type=_EXISTING)
@click.option("-o", "--output", type=_EXISTING, required=True, help="Folder for the report.")
@click.option("--seeds", default=3, show_default=True, help="Classifiers trained, each kind.")
@_examples(
    "emulators benchmark showers.h5 photons/test.h5 -o report/",
    "emulators benchmark showers.h5 photons/test.h5 -o report/ --seeds 5",
)
def benchmark(generated: Path, reference: Path, output: Path, seeds: int) -> None:
    """Measure how far GENERATED is from REFERENCE, each metric with its floor and error.

    Writes report.json, report.html and report.md to the folder. REFERENCE should be samples that
    no training saw. Energies in MeV, lengths in mm.
    """
    from emulators.benchmarks.report import benchmark as measure

    measure(generated, reference, output, seeds=seeds)
    click.echo(output)


@cli.command("list")
@_examples("emulators list", "emulators list | grep photon")
def list_() -> None:
    """List the pretrained emulators that are installed."""
    from emulators import pretrained

    for name, summary in pretrained.available().items():
        click.echo(f"{name:20}  {summary}")


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
