"""One channel of both samples of fields: its bins, and every statistic as a row a field.

Fields are read a few at a time; what costs most is measured on as many as hold a stated number of
cells.  Statistics are brought to equal conditions before they are compared (`Levelling`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from math import pi, prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import Settings
from emulators.benchmarks.measured import Axis
from emulators.benchmarks.pair import Pair, Rows
from emulators.observables import fields
from emulators.observables.bispectra import bispectra, equilateral, squeezed
from emulators.observables.closest import large_scales
from emulators.observables.conditions import KNOWN, Levelling
from emulators.observables.minkowski import minkowski
from emulators.observables.resampling import Groups, standard_error
from emulators.observables.spectra import Spectra, power_spectra, shell_edges, wavenumber_unit
from emulators.random import stream

__all__ = ["NAMES", "Array", "Channel", "channels"]

Array = npt.NDArray[np.float64]
Statistics = Mapping[str, Mapping[str, npt.NDArray[Any]]]  # of each sample, by name

BINS_CELLS = 1 << 26  # of the reference: bins are chosen on as many fields as hold them
COSTLY_CELLS = 1 << 24  # of each sample, for bispectra, Minkowski functionals, scores
NAMES = ("generated", "reference")


def channels(pair: Pair, settings: Settings) -> list["Channel"]:
    """Return the channels of a pair of fields, measured once for all chapters."""
    if "channels" not in pair.shared:
        pair.shared["channels"] = [
            Channel(pair, i, settings["seed"]) for i in range(len(pair.grid.channels))
        ]
    return cast(list[Channel], pair.shared["channels"])


class Channel:
    """One channel of both samples.

    Parameters
    ----------
    pair
        The fields.
    index
        Which channel.
    seed
        Of the report.

    Attributes
    ----------
    all, some
        Positions of all fields of each sample, and of those that costly statistics are taken of.
    bins
        As `emulators.observables.fields.choose_bins` gives them for the reference.
    shells
        Of the first reference field: wavenumbers and numbers of modes.
    """

    def __init__(self, pair: Pair, index: int, seed: int) -> None:
        self.pair, self.index, self.seed = pair, index, seed
        self.name = pair.grid.channels[index]
        self.grid, self.unit = pair.grid, pair.spec.unit
        self.cells = pair.spec.shape[1:]
        self.nyquist = min(pi * n / length for n, length in zip(self.cells, self.grid.lengths))
        self.taper = [not p for p in self.grid.periodic]
        self.all = {k: np.arange(len(v)) for k, v in pair.rows.items()}
        self.some = {k: pair.at_most(k, COSTLY_CELLS, seed) for k in pair.rows}
        chosen = pair.at_most("reference", BINS_CELLS, seed)
        bins = fields.choose_bins(pair.read("reference", index, chosen), self.grid, self.unit)
        if bins.mean is not None and len(chosen) < len(self.all["reference"]):
            bins = replace(bins, mean=self._mean())
        self.bins = bins
        one = pair.read("reference", index, np.arange(1))
        self.shells: Spectra = power_spectra(one, self.grid.lengths, bins.k)

    def key(self, name: str) -> str:
        """Return what a thing of this channel is called, in a record that may have several."""
        return name if len(self.grid.channels) == 1 else f"{name} of {self.name}"

    @property
    def k_unit(self) -> str:
        """Unit of the wavenumbers."""
        return wavenumber_unit(self.grid.unit)

    @cached_property
    def cheap(self) -> Statistics:
        """What is measured of all fields, a row each."""
        return {name: self._rows(name, self.all[name], self._cheap) for name in self.all}

    @cached_property
    def costly(self) -> Statistics:
        """What is measured of some fields, a row each."""
        return {name: self._rows(name, self.some[name], self._costly) for name in self.some}

    def raw(self, statistic: str) -> tuple[Array, Array]:
        """Return the rows of a statistic of generated and reference."""
        rows = self.cheap if statistic in self.cheap["reference"] else self.costly
        return rows["generated"][statistic], rows["reference"][statistic]

    def level(self, statistic: str) -> tuple[Array, Array]:
        """Return the rows of a statistic of generated and reference, brought to equal conditions.

        Spectra in the logarithm, so that the dependence is divided out; others by differences.
        """
        cheap = statistic in self.cheap["reference"]
        levelling = self._levelling(self.all if cheap else self.some)
        rows = self.raw(statistic)
        return levelling.ratios(*rows) if statistic == "power" else levelling.differences(*rows)

    def groups(self, statistic: str) -> tuple[Groups, Groups]:
        """Return the simulations of the rows of a statistic, generated and reference."""
        positions = self.all if statistic in self.cheap["reference"] else self.some
        first, second = (
            None if g is None else g[positions[k]] for k, g in zip(NAMES, self.pair.groups)
        )
        return first, second

    def known(self, statistic: str, settings: Settings) -> npt.NDArray[np.bool_]:
        """Tell which points of a statistic are far enough from 0 in the reference to divide by."""
        rng = stream(self.seed, "known", self.name, statistic)
        reference = self.level(statistic)[1]
        groups = self.groups(statistic)[1]
        error = standard_error(reference, rng, groups, settings["resamplings"])
        return np.asarray(np.abs(reference.mean(0)) > KNOWN * error)

    def mean(self, statistic: str) -> dict[str, Any]:
        """Return the means of a statistic, by sample: what a curve shows."""
        return {name: rows.mean(0) for name, rows in zip(NAMES, self.raw(statistic))}

    def _mean(self) -> float:
        rows = self.all["reference"]
        sums = sum(
            float(p.sum(dtype=np.float64)) for p in self.pair.pieces("reference", self.index, rows)
        )
        return sums / len(rows) / prod(self.cells)

    def _rows(
        self,
        name: str,
        positions: Rows,
        function: Callable[[npt.NDArray[np.float32]], dict[str, npt.NDArray[Any]]],
    ) -> dict[str, npt.NDArray[Any]]:
        parts = [function(piece) for piece in self.pair.pieces(name, self.index, positions)]
        return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}

    def _cheap(self, values: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        measured = fields.observables(values, self.grid, self.bins, self.unit)
        sparsity = fields.band_sparsity(values, self.grid.lengths, self.scales)
        compressed = fields.compressed(values, self.unit, self.bins.one_point)
        scales = large_scales(compressed, self.taper)
        return {**measured, "sparsity": sparsity, "scales": scales}

    def _costly(self, values: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        lengths = self.grid.lengths
        edges = shell_edges(self.cells, lengths, 3, 2 / 3)
        triangles = np.concatenate([equilateral(edges), squeezed(edges)])
        with np.errstate(invalid="ignore", divide="ignore"):  # reduced ones of constant fields
            b = bispectra(values, lengths, edges, triangles, mean=self.bins.mean, taper=self.taper)
        functionals = minkowski(values, self.thresholds, lengths, self.grid.periodic)
        return {
            "bispectrum": b.bispectrum,
            "sides": np.repeat(b.k[None], len(values), 0),
            "functionals": functionals.reshape(len(values), -1),
        }

    @property
    def scales(self) -> list[float]:
        """Smoothing scales of the bands, lengths of the grid."""
        cell = max(length / n for n, length in zip(self.cells, self.grid.lengths))
        return [cell * 2**i for i in range(4) if 2**i <= min(self.cells) / 8]

    @property
    def thresholds(self) -> Array:
        """Up to 24 inner edges of the one-point distribution."""
        edges = self.bins.one_point[1:-1] if len(self.bins.one_point) > 2 else self.bins.one_point
        chosen = np.unique(np.linspace(0, len(edges) - 1, 24).round().astype(int))
        return np.asarray(edges[chosen])

    def axis(self, words: str, places: Array) -> tuple[Axis, Array]:
        """Return the axis of values of the field, and where along it places are.

        Counts and overdensities are drawn logarithmically, moved above 0.
        """
        shift = {"count": 1, "overdensity": 2}.get(self.unit, 0)
        if shift and places[0] + shift > 0:
            return Axis(f"{shift} + {words}", self.unit, log=True), places + shift
        return Axis(words, self.unit, log=fields.logarithmic(places)), places

    def _levelling(self, positions: Mapping[str, Rows]) -> Levelling:
        generated, reference = (self.pair.conditions[k][positions[k]] for k in NAMES)
        numbers = self.pair.simulations["reference"][positions["reference"]]
        return Levelling(generated, reference, len(np.unique(numbers)))

    def unit_of(self, power: int, order: int = 2) -> str:
        """Return the unit of a spectrum: of the field to an order, of lengths to a power."""
        field = "" if self.unit in ("count", "overdensity", "") else f"({self.unit})^{order} "
        return f"{field}({self.grid.unit})^{power}"
