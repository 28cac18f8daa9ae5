"""The command line: each verb parses, calls, prints."""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emulators import __version__
from emulators.commands import (
    PATH,
    Commands,
    Count,
    Echo,
    conditions_of,
    examples,
    numbered_run,
    print_once,
    whole_numbers,
)
from emulators.errors import InputError

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


@cli.group(cls=click.Group)
def data() -> None:
    """Look at, check, convert and split files of samples."""


_layout = click.option("--layout", help="Layout of FILE; default: recognised by its keys.")
_binning = click.option(
    "--binning",
    nargs=2,
    metavar="XML PARTICLE",
    help="Geometry from a CaloChallenge binning file (mm), e.g. binning.xml pion.",
)


def _geometry(binning: tuple[str, str] | None) -> Any:
    from emulators.data.geometries import from_binning_xml

    return from_binning_xml(*binning) if binning else None


@data.command("info", short_help="Say what a file holds.")
@click.argument("file", type=PATH)
@_layout
@_binning
@examples(
    "emulators data info photons.h5",
    "emulators data info my_pions.hdf5 --binning binning_my_pions.xml pion",
)
def data_info(file: Path, layout: str | None, binning: tuple[str, str] | None) -> None:
    """Say what FILE holds: layout, cells (mm), conditions with their ranges (GeV), mean values.

    Where FILE came from a simulation: what the samples cost, in CPU seconds.
    """
    from emulators.data.describe import describe

    click.echo(describe(file, layout, _geometry(binning)))


@data.command("check", short_help="Look for what is wrong with a file.")
@click.argument("file", type=PATH)
@_layout
@_binning
@examples(
    "emulators data check photons.h5",
    "emulators data check photons.h5 --layout calogan || echo do not train on it",
)
def data_check(file: Path, layout: str | None, binning: tuple[str, str] | None) -> None:
    """Look for what is wrong with FILE: NaN, negative or impossible values, shapes, units.

    Energies are expected in the units of the layout: CaloGAN has deposits in MeV and incident
    energies in GeV, CaloChallenge has MeV for both. Prints one line a finding, with the first rows
    concerned; exit code 2 if one of them is an error.
    """
    from emulators.data.check import check

    findings = check(file, layout, _geometry(binning))
    for finding in findings:
        click.echo(str(finding))
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more, see above)" if errors[1:] else ""
        raise InputError(f"{file}: {str(errors[0]).removeprefix('error: ')}{more}")
    click.echo(f"{file}: no errors, {len(findings)} warnings")


@data.command("convert", short_help="Copy samples, in another layout if asked; cut fields.")
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--layout", help="Layout to write: calogan, calochallenge; default: the source's.")
@click.option("--rows", metavar="FROM:TO", help="Which of SOURCE's, e.g. 0:4000; default: all.")
@click.option("--attributes", type=PATH, metavar="TOML", help="What TARGET says of its origin.")
@_binning
@click.option("--from", "origin", metavar="NAME", help="Public layout of SOURCE, e.g. kids, array.")
@click.option("--key", help="Data set of SOURCE to read.")
@click.option("--box", metavar="LENGTH", help='Width of its fields: 200 (Mpc/h), "5 deg".')
@click.option("--unit", help="Unit of its fields: count, overdensity, none ...")
@click.option("--channels", metavar="NAMES", help="Channels of its fields: counts,velocity.")
@click.option("--periodic/--not-periodic", default=None, help="Whether its fields come round.")
@click.option("--conditions", metavar="WHERE", help="Data set or file: params.txt:omega_m,h.")
@click.option("--regions", type=int, help="Cut a huge cube into so many along each axis.")
@click.option("--coarsen", type=int, help="Join so many cells along each axis into one.")
@click.option("--slabs", type=int, help="Cut boxes into so many maps across each axis.")
@click.option("--axes", help="Across which, e.g. xy; default: xyz.")
@click.option("--smooth", type=float, metavar="CELLS", help="Smooth with a periodic Gaussian.")
@click.option("--crop", type=int, help="Cut into pieces of so many cells a side.")
@click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists.")
@examples(
    "emulators data convert photons.h5 photons-mev.h5 --layout calochallenge",
    "emulators data convert photons.h5 first-4000.h5 --rows 0:4000 --attributes origin.toml",
    "emulators data convert deep-fields.h5 first.fits --rows 0:1",
    "emulators data convert Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy dark-matter.h5",
    "emulators data convert boxes.h5 maps.h5 --from array --key counts --box 200 --unit count "
    "--periodic --conditions cosmology:omega_m,sigma_8 --slabs 16",
)
def data_convert(
    source: Path,
    target: Path,
    layout: str | None,
    rows: str | None,
    attributes: Path | None,
    binning: tuple[str, str] | None,
    overwrite: bool,
    **words: Any,
) -> None:
    """Copy the samples of SOURCE to TARGET: float32, compressed, with geometry and units.

    In another layout if asked: incident energies become GeV or MeV as it wants them. Images go to
    FITS with their sky coordinates where TARGET ends in .fits.

    Fields of public data sets (nbody_cubes, kids, cosmoflow, higan, feder, camels, map2map,
    mustafa, or any array) become native files: SOURCE is a file, a folder or a quoted pattern.
    Fields are cut as they are read, in the order of the options below; counts in joined cells are
    summed, all else is averaged.
    """
    from emulators.config import load_toml
    from emulators.data.convert import convert
    from emulators.data.cut import Cut
    from emulators.data.fits import write_fits
    from emulators.data.sources import Told

    given = {name: value for name, value in words.items() if value is not None}
    if target.suffix == ".fits":
        if layout or attributes or binning or given:
            raise click.UsageError("FITS files take --rows and --overwrite alone")
        click.echo(write_fits(source, target, rows, overwrite=overwrite))
        return
    options: dict[str, Any] = {"rows": rows, "geometry": _geometry(binning)}
    options["attributes"] = load_toml(attributes) if attributes else None
    options |= {"origin": given.pop("origin", None), "overwrite": overwrite, "progress": True}
    told, cut = ({k: v for k, v in given.items() if hasattr(c, k)} for c in (Told, Cut))
    click.echo(convert(source, target, layout, **options, told=Told(**told), cut=Cut(**cut)))


@data.command("split", short_help="Cut a file into train, validation and test.")
@click.argument("file", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the three files.")
@click.option("--validation", default=0.05, show_default=True, help="Fraction of the samples.")
@click.option("--test", default=0.25, show_default=True, help="Fraction of the samples.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split.")
@_binning
@click.option("--overwrite", is_flag=True, help="Replace the files if they exist.")
@examples(
    "emulators data split photons.h5 -o photons/",
    "emulators data split photons.h5 -o photons/ --validation 0.1 --test 0.5 --seed 3",
)
def data_split(
    file: Path,
    output: Path,
    validation: float,
    test: float,
    seed: int,
    binning: tuple[str, str] | None,
    overwrite: bool,
) -> None:
    """Split FILE at random into a training, a validation and a test file; units stay (MeV, GeV).

    Samples of one simulation (slices of a box) stay together. With the default fractions and seed
    the rows are those that a training takes for each.
    """
    from emulators.data.convert import split

    geometry = _geometry(binning)
    paths = split(file, output, validation, test, seed, geometry=geometry, overwrite=overwrite)
    for path in paths.values():
        click.echo(path)


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
    "emulators generate runs/maps-1 -n 1 --cells 4096 --sigma-8 0.8 -o large-map.h5",
)
def generate(
    emulator: str,
    rest: Sequence[str],
    n: int | None,
    output: Path,
    energy: str | None,
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
    conditions is an option of its name; its value is a number or a law, and without it the trained
    range is filled. Incident energies are in GeV, deposits are written in MeV, boxes in Mpc/h. An
    interrupted command goes on where it stopped when it is given again.
    """
    from emulators.generation import generate_file
    from emulators.loading import load

    if emulator.startswith("-"):
        raise click.UsageError(f"give the EMULATOR first, then '{emulator}'")
    loaded = load(emulator, device)
    asked = conditions_of(rest, [c.name for c in loaded.spec.conditions])
    asked |= {"incident_energy": energy} if energy is not None else {}
    if asked and conditions is not None:
        raise click.UsageError(
            "give conditions one by one (--energy ...) or --conditions, not both"
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


@cli.command("benchmark", short_help="Measure how far samples are from a reference.")
@click.argument("generated", type=PATH)
@click.argument("reference", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the report.")
@click.option("--emulator", help="Emulator to time; default: the one that GENERATED names.")
@click.option("--seeds", default=3, show_default=True, help="Classifiers trained, each view.")
@click.option(
    "--preset", default="fast", show_default=True, help="Classifier: fast, calochallenge."
)
@click.option("--max-samples", type=Count(), help="Use at most so many samples of each file.")
@click.option("--seed", default=0, show_default=True, help="Seed of all that is drawn.")
@examples(
    "emulators benchmark showers.h5 photons/photons_test.h5 -o report/",
    "emulators benchmark showers.h5 photons/photons_test.h5 -o report/ --emulator runs/photons-1",
    "emulators benchmark maps.h5 web/web_test.h5 -o report/ --max-samples 1000",
)
def benchmark(
    generated: Path,
    reference: Path,
    output: Path,
    emulator: str | None,
    seeds: int,
    preset: str,
    max_samples: int | None,
    seed: int,
) -> None:
    """Measure how far GENERATED is from REFERENCE, each metric with its floor and error.

    For showers, and for density fields: maps or boxes. Writes report.json, report.html and
    report.md to a folder and prints the verdict. REFERENCE should be samples that no training saw.
    Energies in MeV (deposits) and GeV (incident), lengths in Mpc/h, k in h/Mpc.
    """
    from emulators.benchmarks.report import benchmark as measure

    record = measure(
        generated,
        reference,
        output,
        emulator=emulator,
        seeds=seeds,
        preset=preset,
        max_samples=max_samples,
        seed=seed,
        progress=True,
    )
    for line in (*record["warnings"], *(f"{v['status']}: {v['text']}" for v in record["verdict"])):
        click.echo(line)
    click.echo(output / "report.html")


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
