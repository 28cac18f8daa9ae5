"""Images to FITS, as astronomers read them: an extension a band, world coordinates, catalogues."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators import __version__
from emulators.data.convert import parse_rows
from emulators.data.dataset import Dataset
from emulators.data.spec import Grid, SampleSpec
from emulators.errors import InputError

__all__ = ["write_fits"]

# Attributes of the source that go into the primary header, where it has them.
KEYWORDS = {
    "title": "TITLE",
    "generator": "GENERATR",
    "emulator_sha256": "EMULATOR",
    "seed": "SEED",
    "licence": "LICENCE",
    "creator": "AUTHOR",
    "citation": "CITATION",
    "acknowledgement": "ACKNOWL",
}
# Attributes with one value a band that go into the headers of the images.
OWN = {"SIMPLE", "XTENSION", "BITPIX", "PCOUNT", "GCOUNT", "EXTNAME", "EXTVER", "EXTEND"}
PER_BAND = {
    "exposure_times": ("EXPTIME", "[s] exposure time"),
    "zero_points": ("ZEROPT", "AB magnitude of one unit"),
    "sky_noise": ("SKYNOISE", "noise of one pixel of blank sky"),
}


def write_fits(
    source: str | Path,
    target: str | Path,
    rows: str | slice | None = None,
    overwrite: bool = False,
) -> Path:
    """Write images, or fields in two dimensions, to a FITS file.

    Every image has an extension for each of its channels: ``EXTNAME`` is the channel and
    ``EXTVER`` counts the images from 1, so that ``hdus["F775W", 2]`` is a band of the second one.
    ``ROW`` is its row in the source.  Where the source has a data set ``position`` (right ascension
    and declination of the centres, degrees), world coordinates are tangential (``TAN``) with north
    up and east left, else linear.  Where it has a ``catalogue`` (rows of NaN are no source), each
    image has a table ``CATALOGUE``, with the right ascension and declination of its sources.

    Parameters
    ----------
    source
        A file of images or fields, of any layout.
    target
        The FITS file; it appears when it is complete, or not at all.
    rows
        Which rows, as ``"0:4"`` or a slice; by default all.
    overwrite
        Replace a target that exists.

    Raises
    ------
    InputError
        The source is bad or has no images, the rows do not exist, or the target exists or cannot
        be written.
    """
    from astropy.io import fits  # slow to import, and few need it

    dataset, target = Dataset(source), Path(target)
    spec, grid = dataset.spec, dataset.spec.grid
    if spec.kind not in ("image", "field") or grid is None or len(grid.axes) != 2:
        raise InputError(
            f"{dataset.path}: FITS is written from images and fields in two dimensions, not from "
            f"{spec.kind}s of shape {spec.shape}"
        )
    chosen = parse_rows(rows, dataset)
    if target.exists() and target.samefile(dataset.path):
        raise InputError(f"{target}: source and target are the same file")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: choose another name or allow overwriting")
    indices = np.arange(chosen.start, chosen.stop)
    samples, beside = dataset.take(indices), dataset.take_extras(indices)
    attributes = dataset.attributes
    hdus = fits.HDUList([fits.PrimaryHDU(header=_primary_header(dataset, attributes))])
    for i, row in enumerate(indices.tolist()):
        said = {c.name: (samples.conditions[c.name][i], c.unit) for c in spec.conditions}
        for name, column in dataset.beside.items():
            if not column.shape and beside[name].dtype.kind in "fiu" and name not in said:
                said[name] = (beside[name][i], column.unit)
        wcs = _wcs(grid, spec.shape, _position(beside, i))
        for band, (name, image) in enumerate(zip(grid.channels, samples.values[i], strict=True)):
            header = wcs.to_header() + _band_cards(attributes, spec, band)
            header["ROW"] = (row, "in the source, from 0")
            _require_free(dataset, header, spec)
            header += _cards(said)
            hdus.append(fits.ImageHDU(image, header, name=_ascii(name), ver=i + 1))
        catalogue = beside.get("catalogue")
        if catalogue is not None and catalogue.ndim == 3:
            hdus.append(_table(catalogue[i], attributes, wcs, i + 1))
    temporary = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            hdus.writeto(temporary, overwrite=True)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from None
    return target


def _require_free(dataset: Dataset, header: Any, spec: SampleSpec) -> None:
    """Raise InputError where a condition cannot have a card: keywords know no lower case."""
    names = [c.name for c in spec.conditions]
    keywords = [name.upper() for name in names]
    for name, keyword in zip(names, keywords):
        taken = keyword in header or keyword in OWN or keyword.startswith("NAXIS")
        if taken or keywords.count(keyword) > 1 or not keyword.isascii():
            raise InputError(
                f"{dataset.path}: FITS cannot tell condition '{name}' from another keyword: write "
                "an HDF5 file"
            )


def _position(beside: Mapping[str, npt.NDArray[Any]], i: int) -> npt.NDArray[Any] | None:
    position = beside["position"][i] if "position" in beside else np.empty(0)
    return position if position.shape == (2,) and np.isfinite(position).all() else None


def _primary_header(dataset: Dataset, attributes: Mapping[str, Any]) -> Any:
    from astropy.io import fits

    header = fits.Header()
    header["ORIGIN"] = f"emulators {__version__}"
    header["INFILE"] = (_ascii(dataset.path.name), "the source")
    header["INSHA256"] = dataset.sha256
    for name, keyword in KEYWORDS.items():
        if name in attributes:
            value = attributes[name]
            number = isinstance(value, np.number | int | float)
            header[keyword] = np.asarray(value).item() if number else _ascii(value)
    return header


def _cards(said: Mapping[str, tuple[Any, str]]) -> Any:
    from astropy.io import fits

    cards = [
        # Long names need the convention that is called HIERARCH.
        (name if len(name) <= 8 else f"HIERARCH {name}", value.item(), f"[{unit}]" if unit else "")
        for name, (value, unit) in said.items()
        if math.isfinite(value)  # a card cannot hold NaN
    ]
    return fits.Header(cards)


def _band_cards(attributes: Mapping[str, Any], spec: SampleSpec, band: int) -> Any:
    from astropy.io import fits

    assert spec.grid is not None
    header = fits.Header()
    if spec.unit:
        header["BUNIT"] = _fits_unit(spec.unit)
    if spec.kind == "image":
        header["FILTER"] = _ascii(spec.grid.channels[band])
    if spec.grid.components:
        header["COMPONEN"] = (spec.grid.components[band], "scalar, along this axis, or Q or U")
    for attribute, (keyword, comment) in PER_BAND.items():
        values = np.atleast_1d(attributes.get(attribute, ()))
        if values.shape == (spec.shape[0],) and values.dtype.kind in "fiu":
            header[keyword] = (float(values[band]), comment)
    return header


def _wcs(grid: Grid, shape: tuple[int, ...], position: npt.NDArray[Any] | None) -> Any:
    """Return world coordinates: FITS counts axes from the fastest and pixels from 1."""
    from astropy import units
    from astropy.wcs import WCS

    cells = np.array(shape[:0:-1])
    steps = np.array(grid.lengths[::-1]) / cells
    wcs = WCS(naxis=2)
    wcs.wcs.crpix = (cells + 1) / 2
    # Mpc/h would be read as megaparsec an hour: only angles have a unit that FITS knows.
    angular = grid.unit in ("arcsec", "arcmin", "deg", "rad")
    if angular and position is not None:
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.cdelt = steps * units.Unit(grid.unit).to("deg") * [-1, 1]
        wcs.wcs.crval = position
        wcs.wcs.radesys = "ICRS"
    else:
        wcs.wcs.ctype = ["LINEAR", "LINEAR"]
        wcs.wcs.cname = list(grid.axes[::-1])
        wcs.wcs.cdelt = steps
        if angular:
            wcs.wcs.cunit = [grid.unit] * 2
    return wcs


def _table(entries: npt.NDArray[Any], attributes: Mapping[str, Any], wcs: Any, ver: int) -> Any:
    """Return one catalogue as a table."""
    from astropy.io import fits

    entries = entries[~np.isnan(entries).all(axis=1)]
    width = entries.shape[1]
    names, units = (
        [word.strip() for word in str(attributes.get(f"catalogue_{what}", "")).split(",")]
        for what in ("columns", "units")
    )
    if len(names) != width:
        names = [f"column_{k}" for k in range(width)]
    if len(units) != width:
        units = [""] * width
    columns = [
        fits.Column(_ascii(name), "E", unit=_fits_unit(unit) if unit else None, array=entries[:, k])
        for k, (name, unit) in enumerate(zip(names, units, strict=True))
    ]
    if wcs.has_celestial and {"x", "y"} <= set(names):
        pixels = (entries[:, names.index(axis)].astype(np.float64) for axis in "xy")
        for name, values in zip(("ra", "dec"), wcs.all_pix2world(*pixels, 0), strict=True):
            columns.append(fits.Column(name, "D", unit="deg", array=values))
    hdu = fits.BinTableHDU.from_columns(columns, name="CATALOGUE", ver=ver)
    hdu.header["COMMENT"] = "x and y count from 0 at the centre of the first pixel, FITS from 1"
    return hdu


def _fits_unit(unit: str) -> str:
    from astropy import units

    try:
        return str(units.Unit(unit).to_string("fits"))
    except ValueError:  # as electron / s: FITS has no electrons, but astropy reads them
        return _ascii(unit)


def _ascii(value: Any) -> str:
    """Return text that a card can hold: FITS knows printable ASCII alone."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(c if " " <= c <= "~" else "?" for c in " ".join(text.split()))
