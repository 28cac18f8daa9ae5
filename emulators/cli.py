"""The command line: each verb parses, calls, prints."""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emulators import __version__
from emulators.cli_data import data
from emulators.commands import (
    PATH,
    Commands,
    Count,
    Echo,
    Verb,
    conditions_of,
    examples,
    given_as_option,
    numbered_run,
    print_once,
    whole_numbers,
)

__all__ = ["cli", "main"]


@click.group("emulators", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emulators")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and debug messages.")
def cli(debug: bool) -> None:
    """Replace a slow physics simulation by a trained GAN, and know how good the replacement is.

    Files are HDF5 in the layout of the simulation (CaloGAN, CaloChallenge, native fields and
    images). Units: deposits in MeV, incident energies on the command line in GeV, boxes in Mpc/h.
    """
    logger = logging.getLogger("emulators")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not any(isinstance(handler, Echo) for handler in logger.handlers):
        logger.addHandler(Echo())


cli.add_command(data)


@cli.command("simulate", short_help="Run a reference simulation into a file.")
@click.argument("recipe", type=PATH, required=False)
@click.option("--preset", metavar="NAME", help="A recipe that ships; see: emulators list.")
@click.option("-n", "n", type=Count(), help="How many samples; default: as the recipe says.")
@click.option("-o", "--output", type=PATH, help="HDF5 file to write.")
@click.option("--seed", default=0, show_default=True, help="Simulation i depends on (seed, i).")
@click.option("--processes", type=Count(), default=1, show_default=True, help="Run at once.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--dry-run", is_flag=True, help="Check everything, time some, estimate the rest.")
@examples(
    "emulators simulate --preset calogan-photons -n 10000 --processes 2 -o photons.h5",
    "emulators simulate --preset cosmic-web -n 100 --seed 1 --dry-run",
    "emulators simulate my-calorimeter.toml --set simulator.energy=50 -o 50GeV.h5",
)
def simulate(
    recipe: Path | None,
    preset: str | None,
    n: int | None,
    output: Path | None,
    seed: int,
    processes: int,
    settings: Sequence[str],
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Run a reference simulation as RECIPE (a TOML file) or a preset says.

    Geant4 showers (deposits in MeV, incident energies in GeV), N-body boxes (Mpc/h), deep fields,
    or toys; each beside its cost in CPU seconds. The extras geant4, nbody and sky install the
    codes. An interrupted command goes on where it stopped when it is given again.
    """
    from emulators.simulators import campaign
    from emulators.simulators.recipe import read_simulation

    if (recipe is None) == (preset is None):
        raise click.UsageError("give a RECIPE or --preset NAME")
    if output is None and not dry_run:
        raise click.UsageError("say where to write: -o OUTPUT (or ask for a --dry-run)")
    plan = read_simulation(preset or recipe or "", settings, preset=preset is not None)
    if output is None or dry_run:
        click.echo(campaign.estimate(plan, n, seed=seed, processes=processes))
        return
    options: dict[str, Any] = {"seed": seed, "processes": processes, "overwrite": overwrite}
    click.echo(campaign.simulate_file(plan, output, n, **options, progress=True))


@cli.command("train", short_help="Train an emulator as a recipe says.")
@click.argument("recipe", type=PATH, required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
@click.option("--run", type=PATH, help="Folder to write; default: runs/<recipe>-<number>.")
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with an interrupted run.")
@click.option("--dry-run", is_flag=True, help="Check everything and time a few steps.")
@examples(
    "emulators train photons.toml --set training.minutes=30 --set data.path=photons.h5",
    "emulators train --resume runs/photons-1 --set training.samples=2e7",
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

    if resume is not None:
        if recipe is not None or run is not None or dry_run:
            raise click.UsageError(
                "--resume takes no RECIPE, --run or --dry-run: the run has its own"
            )
        print_once(loop.resume(resume, settings, progress=True))
        return
    if recipe is None:
        raise click.UsageError("give a RECIPE, or --resume RUN")
    plan = read_recipe(recipe, settings)
    if dry_run:
        print_once(loop.dry_run(plan))
        return
    if run is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError("several processes need one folder: give --run")
    print_once(loop.train(plan, run or numbered_run(recipe), progress=True))


@cli.command(
    "generate",
    short_help="Generate samples into a file.",
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS] [--CONDITION VALUE]...",
)
@click.argument("emulator")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.option("-n", "n", type=Count(), help="How many samples: 100000, 100_000 or 1e5.")
@click.option("-o", "--output", type=PATH, required=True, help="HDF5 file to write.")
@click.option("--energy", metavar="GEV", help="Incident energy: 50, or a law, 1:100:log|linear.")
@click.option(
    "--condition",
    "named",
    multiple=True,
    metavar="NAME=LAW",
    help="Any condition by its name as it is: n=0.5:6. Repeatable.",
)
@click.option("--conditions", type=PATH, help="HDF5 file whose conditions are taken in order.")
@click.option("--cells", metavar="N[xN...]", help="Cells of a field, where not as in training.")
@click.option("--periodic/--not-periodic", default=None, help="Whether a field comes round again.")
@click.option("--seed", default=0, show_default=True, help="Sample i depends on (seed, i) alone.")
@click.option("--allow-extrapolation", is_flag=True, help="Accept conditions outside training.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("--device", help="cpu, cuda, cuda:1 ...; default: a GPU where there is one.")
@examples(
    "emulators generate photon-showers -n 100000 --energy 1:100:log -o showers.h5",
    "emulators generate runs/photons-1 -n 1e6 --energy 50 --seed 7 -o showers-50GeV.h5",
    "emulators generate photon-showers --conditions photons.h5 -o same-energies.h5",
    "emulators generate runs/maps-1 -n 500 --omega-m 0.3 --sigma-8 0.6:1.0 -o maps.h5",
    "emulators generate runs/maps-1 -n 500 --condition omega_m=0.3 --condition seed=2 -o maps.h5",
    "emulators generate runs/maps-1 -n 1 --cells 4096 --sigma-8 0.8 -o large-map.h5",
)
def generate(
    emulator: str,
    rest: Sequence[str],
    n: int | None,
    output: Path,
    energy: str | None,
    named: Sequence[str],
    conditions: Path | None,
    cells: str | None,
    periodic: bool | None,
    seed: int,
    allow_extrapolation: bool,
    overwrite: bool,
    device: str | None,
) -> None:
    """Generate samples with EMULATOR into a file of the layout that it was trained on.

    EMULATOR is a pretrained name (see: emulators list), a file or a run folder. Each of its
    conditions is asked with --condition NAME=LAW; a name that is no other option is one of its
    own: --sigma-8 0.8 stands for --condition sigma_8=0.8, and --energy for the incident energy. A
    law is a number (0.8), a range (0.6:1.0), with :log or :linear how it is filled, and a unit
    behind it for both ends (5:50 MeV); plain numbers are in the condition's unit. Without a law
    the trained range is filled. Incident energies are in GeV, deposits are written in MeV, boxes in
    Mpc/h. An interrupted command goes on where it stopped when it is given again.
    """
    from emulators.generation import generate_file
    from emulators.loading import load

    if emulator.startswith("-"):
        raise click.UsageError(f"give the EMULATOR first, then '{emulator}'")
    loaded = load(emulator, device)
    energies = [] if energy is None else ["--energy", energy]
    names = [c.name for c in loaded.spec.conditions]
    asked = conditions_of([*energies, *rest], named, names)
    for name in names if conditions is None else ():
        if name not in asked and (option := given_as_option(name)):
            click.echo(f"{option} is an option; the condition is --condition {name}=LAW", err=True)
    if asked and conditions is not None:
        raise click.UsageError(
            "give conditions one by one (--energy ...) or --conditions FILE, not both"
        )
    if cells is not None or periodic is not None:
        size = loaded.spec.shape[1:]
        wanted = size if cells is None else whole_numbers(cells, len(size))
        loaded = loaded.on_grid(wanted, periodic=periodic)
    began = time.perf_counter()
    generate_file(
        loaded,
        n,
        output,
        conditions=conditions or asked,
        seed=seed,
        overwrite=overwrite,
        allow_extrapolation=allow_extrapolation,
        progress=True,
    )
    click.echo(f"{output}: {time.perf_counter() - began:.1f} s with {loaded.name}")


_cache = click.option(
    "--cache/--no-cache",
    default=True,
    help="Keep what is long to measure in ~/.cache/emulators, and take what is kept there.",
)


@click.command("benchmark", short_help="Measure how far samples are from a reference.")
@click.argument("generated", type=PATH)
@click.argument("reference", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the report.")
@click.option("--emulator", help="Emulator to time; default: the one that GENERATED names.")
@click.option("--seeds", default=3, show_default=True, help="Classifiers trained, each view.")
@click.option(
    "--preset",
    default="fast",
    show_default=True,
    help="Classifier: fast, calochallenge. Or all that CaloChallenge measures, beside what it "
    "published: calochallenge-1-photons, -1-pions, -2, -3.",
)
@click.option("--classifiers/--no-classifiers", default=True, help="They take most of the time.")
@click.option("--max-samples", type=Count(), help="Use at most so many samples of each file.")
@click.option("--speed/--no-speed", default=True, help="Time emulator and simulation (a minute).")
@click.option(
    "--simulate",
    metavar="PRESET|RECIPE",
    help="Simulation to time beside the emulator; default: as REFERENCE records it.",
)
@click.option(
    "--beside/--no-beside",
    default=True,
    help="Measure the emulator's untrained start and a simple baseline too.",
)
@click.option("--check", is_flag=True, help="Exit code 1 where a limit is not met.")
@click.option("--limits", type=PATH, help="TOML file: [limits] of figures, as the report has them.")
@click.option("--figures", type=click.Choice(["pdf", "png", "svg"]), help="Write each figure too.")
@click.option("--seed", default=0, show_default=True, help="Seed of all that is drawn.")
@_cache
@examples(
    "emulators benchmark showers.h5 photons/photons_test.h5 -o report/",
    "emulators benchmark showers.h5 photons/photons_test.h5 -o report/ --emulator runs/photons-1",
    "emulators benchmark showers.h5 photons/photons_test.h5 -o report/ --simulate calogan-photons",
    "emulators benchmark showers.h5 photons_test.h5 -o report/ --no-classifiers --no-speed",
    "emulators benchmark maps.h5 web/web_test.h5 -o report/ --max-samples 1000 --figures pdf",
    "emulators benchmark showers.h5 photons_test.h5 -o report/ --check --limits limits.toml",
    "emulators benchmark run benchmarks/showers-smoke.toml",
)
@click.pass_context
def benchmark(
    context: click.Context,
    generated: Path,
    reference: Path,
    output: Path,
    emulator: str | None,
    seeds: int,
    preset: str,
    classifiers: bool,
    max_samples: int | None,
    speed: bool,
    simulate: str | None,
    beside: bool,
    check: bool,
    limits: Path | None,
    figures: str | None,
    seed: int,
    cache: bool,
) -> None:
    """Measure how far GENERATED is from REFERENCE, each metric with its floor and error.

    For showers, and for density fields: maps or boxes. Writes report.json, report.html and
    report.md to a folder and prints the verdict. REFERENCE should be samples that no training saw.
    Energies in MeV (deposits) and GeV (incident), lengths in the files' own unit, k in its inverse.

    With run it is a suite: several emulators trained or loaded, and compared.
    """
    from emulators.benchmarks.cache import default_folder
    from emulators.benchmarks.report import benchmark as measure
    from emulators.benchmarks.report import read_limits
    from emulators.benchmarks.write import opening

    if simulate is not None and not speed:
        raise click.UsageError("--simulate says what to time, and --no-speed to time nothing")
    report = measure(
        generated,
        reference,
        output,
        emulator=emulator,
        seeds=seeds,
        preset=preset,
        classifiers=classifiers,
        max_samples=max_samples,
        speed=speed,
        simulate=simulate,
        beside=beside,
        limits=None if limits is None else read_limits(limits),
        figures=figures,
        seed=seed,
        cache=default_folder() if cache else None,
        progress=True,
    )
    said = [f"{v['status']}: {v['text']}" for v in report.verdict]
    for line in (*report.record["warnings"], *said, opening(report.record)):
        click.echo(line)
    click.echo(output / "report.html")
    if check and not report.passed:
        context.exit(1)


@click.command("run", short_help="Train, generate, measure and compare several emulators.")
@click.argument("suite", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder to write; default: runs/<suite>.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the suite.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done.")
@click.option("--check", is_flag=True, help="Exit code 1 where a threshold is not met.")
@_cache
@examples(
    "emulators benchmark run benchmarks/showers-smoke.toml -o smoke/",
    "emulators benchmark run benchmarks/showers.toml --set data.path=photons.h5 --dry-run",
    "emulators benchmark run benchmarks/fields.toml --set recipe.training.minutes=5 --check",
)
@click.pass_context
def benchmark_suite(
    context: click.Context,
    suite: Path,
    output: Path | None,
    settings: Sequence[str],
    dry_run: bool,
    check: bool,
    cache: bool,
) -> None:
    """Do all of a SUITE (a TOML file): train, generate, measure, compare.

    Writes index.html, suite.md and suite.json to a folder, beside runs/, samples/ and reports/, and
    prints the outcome. An interrupted command goes on where it stopped when it is given again.
    Energies in MeV (deposits) and GeV (incident), lengths in the files' own unit, k in its inverse.
    """
    from emulators.benchmarks.cache import default_folder
    from emulators.benchmarks.suites.run import plan_suite, run_suite
    from emulators.benchmarks.suites.suite import read_suite
    from emulators.benchmarks.suites.tables import outcome

    plan = read_suite(suite, [*settings, *(["check=true"] if check else [])])
    folder = output or Path("runs") / suite.stem
    if dry_run:
        click.echo(plan_suite(plan, folder))
        return
    kept = default_folder() if cache else None
    record = run_suite(plan, folder, cache=kept, progress=True)
    for line in outcome(record):
        click.echo(line)
    click.echo(folder / "index.html")
    if plan.check and not all(t["met"] for t in record["thresholds"]):
        context.exit(1)


cli.add_command(Verb(benchmark, [benchmark_suite]))


@cli.command("list", short_help="List pretrained emulators and simulation presets.")
@examples("emulators list", "emulators list | grep photon")
def list_() -> None:
    """List the pretrained emulators, and the presets of reference simulations."""
    from emulators import pretrained
    from emulators.simulators.recipe import presets

    named = {
        "pretrained emulators": pretrained.available(),
        "presets of emulators simulate": presets(),
    }
    for heading, known in named.items():
        click.echo(heading if known else f"no {heading} are installed")
        for name, summary in known.items():
            click.echo(f"  {name:20}  {summary}")


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
