"""Fields that the tests of reports share: maps and boxes of counts, and files of them."""

import numpy as np
import pytest

from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec

LENGTH = 100.0  # Mpc/h


def _lognormal(rng, sigma, slope=1.0, d=2, side=16):
    """Poisson counts of lognormal fields, of these widths, and with power ~ k^-slope each."""
    lines = [np.fft.fftfreq(side, 1 / side)] * (d - 1) + [np.fft.rfftfreq(side, 1 / side)]
    number = np.sqrt(sum(m**2 for m in np.meshgrid(*lines, indexing="ij", sparse=True)))
    number.flat[0] = np.inf
    fields = np.empty((len(sigma), *(side,) * d), np.float32)
    for i, (s, n) in enumerate(zip(sigma, np.broadcast_to(slope, len(sigma)))):
        white = np.fft.rfftn(rng.standard_normal((side,) * d))
        gaussian = np.fft.irfftn(white * number ** (-n / 2), (side,) * d, axes=range(d))
        gaussian *= s * np.sqrt(2 if d == 2 else 6)
        fields[i] = rng.poisson(20 * np.exp(gaussian - gaussian.var() / 2))
    return fields


def _write(path, fields, conditions=None, simulation=None, *, of="count", periodic=True, **grid):
    """Write fields ``(n, *cells)``, or ``(n, channels, *cells)`` with the names of channels."""
    values = fields if "channels" in grid and len(grid["channels"]) > 1 else fields[:, None]
    d = values.ndim - 2
    spec = SampleSpec(
        "field",
        "native",
        values.shape[1:],
        of,
        tuple(Condition(n, "", 0.0, 2.0) for n in conditions or ()),
        grid=Grid(
            **{
                "channels": ("counts",),
                "axes": ("x", "y", "z")[:d],
                "lengths": (LENGTH,) * d,
                "unit": "Mpc/h",
                "periodic": (periodic,) * d,
            }
            | grid
        ),
    )
    beside, columns = {}, {}
    if simulation is not None:
        columns = {"simulation": Column((), "", "number of the simulation", (), "i8")}
        beside = {"simulation": simulation}
    with HDF5Writer(path, spec, len(values), overwrite=True, beside=columns) as writer:
        asked = {k: np.asarray(v, np.float32) for k, v in (conditions or {}).items()}
        writer.append(Samples(values, asked), beside)
    return path


@pytest.fixture(scope="session")
def lognormal():
    """Return a maker of fields: ``lognormal(rng, sigma, slope, d, side)``."""
    return _lognormal


@pytest.fixture(scope="session")
def write_fields():
    """Return a writer of files of fields."""
    return _write
