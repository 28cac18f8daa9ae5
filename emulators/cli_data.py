"""The verbs of ``emulators data``: each parses, calls, prints."""

from pathlib import Path
from typing import Any

import click

from emulators.commands import PATH, examples
from emulators.errors import InputError

__all__ = ["data"]


@click.group(cls=click.Group)
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
@click.option("--components", metavar="NAMES", help="What each is: scalar, x, y, z, Q, U.")
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
    "emulators data convert snapshots/ moved.h5 --box 100 --unit Mpc/h --channels dx,dy,dz "
    "--components x,y,z",
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
