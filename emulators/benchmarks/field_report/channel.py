"""One channel of both samples of fields: its bins, and every statistic as a row a field."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import pi, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.field_report.conditional import Levelling
from emulators.benchmarks.field_report.pair import FieldPair
from emulators.benchmarks.pair import Rows
from emulators.observables import fields
from emulators.observables.bispectra import bispectra, equilateral, squeezed
from emulators.observables.closest import large_scales
from emulators.observables.minkowski import minkowski
from emulators.observables.spectra import Spectra, power_spectra, shell_edges
from emulators.random import stream

__all__ = ["Array", "Channel", "Statistics"]

Array = npt.NDArray[np.float64]
Statistics = Mapping[str, Mapping[str, npt.NDArray[Any]]]  # of each sample, by name

BINS_CELLS = 1 << 26  # of the reference: bins are chosen on as many fields as hold them
COSTLY_CELLS = 1 << 24  # of each sample, for bispectra, Minkowski functionals, scores


class Channel:
    """One channel of both samples.

    Parameters
    ----------
    pair
        The fields.
    index
        Which channel.
    settings
        Of the record: ``seed``, ``resamplings``, ``halvings``.

    Attributes
    ----------
    all, some
        Positions of all fields of each sample, and of those that costly statistics are taken of.
    bins
        As `emulators.observables.fields.choose_bins` gives them for the reference.
    shells
        Of the first reference field: wavenumbers and numbers of modes.
    """

    def __init__(self, pair: FieldPair, index: int, settings: Mapping[str, Any]) -> None:
        self.pair, self.index, self.settings = pair, index, settings
        self.name = pair.grid.channels[index]
        self.grid, self.unit, self.seed = pair.grid, pair.spec.unit, settings["seed"]
        self.cells = pair.spec.shape[1:]
        self.nyquist = min(pi * n / length for n, length in zip(self.cells, self.grid.lengths))
        self.taper = [not p for p in self.grid.periodic]
        self.all = {k: np.arange(len(v)) for k, v in pair.rows.items()}
        self.some = {k: pair.at_most(k, COSTLY_CELLS, self.seed) for k in pair.rows}
        chosen = pair.at_most("reference", BINS_CELLS, self.seed)
        bins = fields.choose_bins(pair.read("reference", index, chosen), self.grid, self.unit)
        if bins.mean is not None and len(chosen) < len(self.all["reference"]):
            bins = replace(bins, mean=self._mean())
        self.bins = bins
        one = pair.read("reference", index, np.arange(1))
        self.shells: Spectra = power_spectra(one, self.grid.lengths, bins.k)

    def _mean(self) -> float:
        rows = self.all["reference"]
        sums = sum(
            float(p.sum(dtype=np.float64)) for p in self.pair.pieces("reference", self.index, rows)
        )
        return sums / len(rows) / prod(self.cells)

    def cheap(self) -> Statistics:
        """Return what is measured of all fields."""
        return {name: self._rows(name, self.all[name], self._cheap) for name in self.all}

    def costly(self) -> Statistics:
        """Return what is measured of some fields."""
        return {name: self._rows(name, self.some[name], self._costly) for name in self.some}

    def _rows(
        self,
        name: str,
        positions: Rows,
        function: Callable[[npt.NDArray[np.float32]], dict[str, npt.NDArray[Any]]],
    ) -> dict[str, npt.NDArray[Any]]:
        parts = [function(piece) for piece in self.pair.pieces(name, self.index, positions)]
        return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}

    def _cheap(self, values: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        found = fields.observables(values, self.grid, self.bins, self.unit)
        sparsity = fields.band_sparsity(values, self.grid.lengths, self.scales)
        compressed = fields.compressed(values, self.unit, self.bins.one_point)
        scales = large_scales(compressed, self.taper)
        return {**found, "sparsity": sparsity, "scales": scales}

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
        """Return up to 24 inner edges of the one-point distribution."""
        edges = self.bins.one_point[1:-1] if len(self.bins.one_point) > 2 else self.bins.one_point
        chosen = np.unique(np.linspace(0, len(edges) - 1, 24).round().astype(int))
        return np.asarray(edges[chosen])

    def levelling(self, positions: Mapping[str, Rows]) -> Levelling:
        """Return what brings statistics of these fields to equal conditions."""
        generated, reference = (
            self.pair.conditions[k][positions[k]] for k in ("generated", "reference")
        )
        numbers = self.pair.simulations["reference"][positions["reference"]]
        return Levelling(generated, reference, len(np.unique(numbers)))

    def options(self, positions: Mapping[str, Rows], what: str) -> dict[str, Any]:
        """Return random numbers, simulations and how often to resample, for `resampling`."""
        groups = tuple(self.pair.simulations[k][positions[k]] for k in ("generated", "reference"))
        return {
            "rng": stream(self.seed, "bootstrap", self.name, what),
            "groups": groups,
            "resamplings": self.settings["resamplings"],
            "halvings": self.settings["halvings"],
        }

    def equal(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options in which a group of generated fields has as many as a simulation.

        `measure_difference` takes equally many groups of both samples; fields that are each their
        own would be too few beside simulations of many fields.
        """
        generated, reference = options["groups"]
        each = len(reference) // len(np.unique(reference))
        if len(np.unique(generated)) == len(generated) and each > 1:
            order = stream(self.seed, "groups", self.name).permutation(len(generated))
            generated = order // min(each, len(generated) // 2)
        return {**options, "groups": (generated, reference)}

    def unit_of(self, power: int, order: int = 2) -> str:
        """Return the unit of a spectrum: of the field to an order, of lengths to a power."""
        field = "" if self.unit in ("count", "overdensity", "") else f"({self.unit})^{order} "
        return f"{field}({self.grid.unit})^{power}"
