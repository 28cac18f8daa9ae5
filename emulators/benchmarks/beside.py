"""Other samples that are measured beside the emulator's, against the same reference.

Two of them say what a trained network adds: its own start, with everything fitted and nothing
learned, and a baseline that has the reference's simplest statistics and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import fft

from emulators.benchmarks.pair import Pair, Rows
from emulators.data.counts import COUNTS
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Samples
from emulators.emulator import Emulator
from emulators.observables.distances import quantile_edges
from emulators.observables.spectra import wavenumbers
from emulators.random import stream

__all__ = ["independent_cells", "lognormal_fields", "others"]

CELLS = 1 << 26  # of all samples of one kind, at most: what more would say, fewer do
RANGES = 20  # of the incident energy, in each of which cells are shuffled by themselves
Fields = npt.NDArray[np.float64]


def others(
    pair: Pair, emulator: Emulator | None, folder: Path, seed: int
) -> Iterator[tuple[str, Pair]]:
    """Yield the untrained start of an emulator, where it has one, and a baseline, by name.

    Parameters
    ----------
    pair
        What the emulator's samples are in.
    emulator
        Whose start it is; None: there is none.
    folder
        Where their files are put.
    seed
        Of what is drawn.

    Yields
    ------
    A name, and the pair with these samples in the place of the generated ones, at the same
    conditions.
    """
    n = min(len(pair.rows["generated"]), max(1, CELLS // prod(pair.spec.shape)))
    asked = pair.conditions["generated"][:n]
    start = None if emulator is None else emulator.untrained()
    if start is not None and start.spec.shape == pair.spec.shape:
        conditions = dict(zip(pair.names, asked.T.astype(np.float32)))
        samples = start.generate(n, seed=seed, conditions=conditions, allow_extrapolation=True)
        yield "untrained start", _with(pair, samples, folder / "start.h5")
    makers: dict[str, tuple[str, Callable[[Pair, int], tuple[Fields, Rows]]]] = {
        "shower": ("independent cells", independent_cells),
        "field": ("lognormal fields", lognormal_fields),
    }
    if pair.kind in makers:
        name, make = makers[pair.kind]
        values, rows = make(pair, seed)
        columns = pair.conditions["reference"][rows].T.astype(np.float32)
        samples = Samples(values.astype(np.float32), dict(zip(pair.names, columns)))
        yield name, _with(pair, samples, folder / "baseline.h5", rows)


def _with(pair: Pair, samples: Samples, path: Path, rows: Rows | None = None) -> Pair:
    """Return a pair with these as the generated samples; ``rows`` are those of the reference.

    None: they are at the conditions of the generated ones, in their order.
    """
    spec = replace(pair.spec, conditions=tuple(pair.spec.condition(n) for n in pair.names))
    with HDF5Writer(path, spec, len(samples)) as writer:
        writer.append(samples)
    side = "generated" if rows is None else "reference"
    n = len(samples)
    positions = np.arange(n) if rows is None else rows
    whole = n == len(pair.rows["reference"]) and pair.paired
    return replace(
        pair,
        data={**pair.data, "generated": Dataset(path)},
        rows={**pair.rows, "generated": np.arange(n)},
        conditions={**pair.conditions, "generated": pair.conditions[side][positions]},
        simulations={**pair.simulations, "generated": pair.simulations[side][positions]},
        paired=whole,
    )


def independent_cells(pair: Pair, seed: int) -> tuple[Fields, Rows]:
    """Return showers whose cells have the reference's distributions, each for itself.

    In each range of incident energy every cell is shuffled over the showers by itself, as a share
    of the incident energy.

    Returns
    -------
    Deposits ``(n, cells)``, MeV, and the positions of the reference showers whose energy they have.
    """
    energy = pair.energies[0]
    values = pair.reference.values / energy[:, None]
    edges = quantile_edges(energy, min(RANGES, max(1, len(energy) // 100)))
    where = np.searchsorted(edges, energy, side="right")
    for b in np.unique(where):
        inside = np.flatnonzero(where == b)
        values[inside] = stream(seed, "independent cells", int(b)).permuted(values[inside], axis=0)
    return values * energy[:, None], np.arange(len(energy))


def lognormal_fields(pair: Pair, seed: int) -> tuple[Fields, Rows]:
    """Return lognormal fields of the reference's mean and power spectrum, counts drawn from them.

    A Gaussian field with the correlation ``log(1 + xi)`` is exponentiated, with ``xi`` that of the
    reference fields of one simulation.  Fields that are no densities (values below 0) are Gaussian.

    Returns
    -------
    Values ``(n, channels, *cells)`` and the positions of the reference fields whose simulation they
    are like.

    References
    ----------
    Coles and Jones, MNRAS 248 (1991) 1.
    """
    most = max(8, CELLS // prod(pair.spec.shape))
    rows = np.arange(len(pair.rows["reference"]))
    if len(rows) > most:
        rows = np.sort(stream(seed, "lognormal rows").permutation(rows)[:most])
    made = np.empty((len(rows), *pair.spec.shape))
    numbers = pair.simulations["reference"][rows]
    for channel in range(pair.spec.shape[0]):
        for number in np.unique(numbers):
            inside = np.flatnonzero(numbers == number)
            like = pair.read("reference", channel, rows[inside]).astype(np.float64)
            rng = stream(seed, "lognormal", channel, int(number))
            made[inside, channel] = _lognormal(like, pair.grid.lengths, rng, pair.spec.unit)
    return made, rows


def _lognormal(
    like: Fields, lengths: tuple[float, ...], rng: np.random.Generator, unit: str
) -> Fields:
    """Return as many fields with mean and power of these, ``(n, *cells)``."""
    cells = like.shape[1:]
    n = prod(cells)
    shift = 1.0 if unit == "overdensity" else 0.0
    mean = float(like.mean()) + shift
    power = _mode_power(like, lengths)
    if mean <= 0 or float(like.min()) + shift < 0:  # no densities
        return mean - shift + _gaussian(power, like.shape, rng)
    if unit in COUNTS:  # less what drawing counts adds by itself
        power = np.maximum(power - mean / n, 0)
    correlation = fft.irfftn(power, cells) * n / mean**2
    logarithmic = fft.rfftn(np.log(np.maximum(1 + correlation, 1e-6))).real / n
    logarithmic.flat[0] = 0
    logarithmic = np.maximum(logarithmic, 0)
    variance = float((logarithmic * wavenumbers(cells, lengths)[1]).sum())
    made = mean * np.exp(_gaussian(logarithmic, like.shape, rng) - variance / 2)
    return rng.poisson(made).astype(np.float64) if unit in COUNTS else made - shift


def _mode_power(fields: Fields, lengths: tuple[float, ...]) -> Fields:
    """Return the mean of ``|FFT / N|^2`` over fields and shells, of each mode; 0 of the mean."""
    cells = fields.shape[1:]
    square = np.mean([np.abs(fft.rfftn(f) / prod(cells)) ** 2 for f in fields], axis=0)
    k, weight = wavenumbers(cells, lengths)
    shell = np.rint(k * max(lengths) / (2 * np.pi)).astype(int).ravel()
    weights = weight.ravel()
    totals = np.bincount(shell, weights * square.ravel()) / np.maximum(
        np.bincount(shell, weights), 1
    )
    power = totals[shell].reshape(square.shape)
    power.flat[0] = 0
    return np.asarray(power)


def _gaussian(power: Fields, shape: tuple[int, ...], rng: np.random.Generator) -> Fields:
    """Return Gaussian fields ``(n, *cells)`` whose modes have this mean square, ``|FFT / N|^2``."""
    factor = np.sqrt(power * prod(shape[1:]))
    made = [
        fft.irfftn(fft.rfftn(rng.standard_normal(shape[1:])) * factor, shape[1:])
        for _ in range(shape[0])
    ]
    return np.array(made)
