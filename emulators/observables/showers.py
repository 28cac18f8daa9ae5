"""Observables of calorimeter showers: CaloGAN's twenty and CaloChallenge's high-level features.

Everything is computed in float64, layer by layer, for any geometry.  Positions are the centres of
the cells.  A shower without energy in a layer has centre and width 0 there, as in CaloChallenge.

One trap of names: CaloGAN calls the fraction of *non-zero* cells sparsity, CaloChallenge the
fraction of *empty* cells.  Here ``fraction_nonzero`` counts cells above zero, ``fraction_active``
cells above a threshold in MeV, and ``1 - fraction_active`` is CaloChallenge's sparsity.

References
----------
CaloGAN: Paganini, de Oliveira, Nachman, arXiv:1712.10321, Fig. 12.  CaloChallenge: Krause et al.,
arXiv:2410.21611.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulators.data.spec import MEV_PER_GEV, ReadoutLayer, ShowerGeometry

__all__ = [
    "CELL_THRESHOLD",
    "Observable",
    "calogan_observables",
    "constant",
    "high_level_features",
    "observable_table",
    "observables",
]

Array = npt.NDArray[np.float64]

CELL_THRESHOLD = 0.01  # MeV; a cell above it is active
_NARROW = 1e-6  # of the scale: a width that single precision does not tell from none
_TINY = 1e-16  # MeV; keeps empty layers finite, CaloChallenge's value


@dataclass(frozen=True)
class Observable:
    """One number per shower.

    Parameters
    ----------
    name
        Key in `observables`, e.g. ``energy_layer_0``.
    label
        What an axis says (mathtext), without the unit.
    unit
        Unit, empty for a pure number.
    log
        Whether the natural axis is logarithmic.
    group
        What it belongs to: ``energy``, ``sharing``, ``position``, ``width``, ``depth``, ``cells``.
    """

    name: str
    label: str
    unit: str
    log: bool
    group: str

    @property
    def axis(self) -> str:
        """Label with unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


def _axes(layer: ReadoutLayer) -> tuple[str, ...]:
    """Names of the lateral coordinates in which a layer has more than one cell."""
    if layer.axes == ("x", "y"):
        return tuple(a for a, n in zip(layer.axes, layer.shape) if n > 1)
    return ("eta", "phi", "r") if layer.shape[0] > 1 else ("r",)


def _positions(layer: ReadoutLayer) -> Array:
    """Coordinates of the cells along `_axes`, shape ``(axes, cells)``, mm."""
    first, second = layer.centres
    known = {"x": first, "y": second, "eta": first, "phi": second}
    if layer.axes == ("alpha", "r"):
        edges = np.asarray(layer.edges[1])
        known["r"] = np.broadcast_to((edges[1:] + edges[:-1]) / 2, layer.shape)
    rows = [known[a].ravel() for a in _axes(layer)]
    return np.stack(rows) if rows else np.empty((0, layer.n_cells))


_SYMBOL = {"x": "x", "y": "y", "eta": r"\eta", "phi": r"\phi", "r": "r"}


def observable_table(
    geometry: ShowerGeometry, threshold: float = CELL_THRESHOLD
) -> tuple[Observable, ...]:
    """Return all observables of a geometry, in the order of `observables`."""
    layers = [(layer, layer.name, layer.name.replace("_", " ")) for layer in geometry.layers]
    deepest = len(layers) - 1
    table = [
        Observable("energy_total", r"$E_\mathrm{tot}$", "MeV", True, "energy"),
        Observable("energy_response", r"$E_\mathrm{tot}/E_\mathrm{inc}$", "", False, "energy"),
    ]
    for _, name, words in layers:
        table.append(Observable(f"energy_{name}", f"$E$, {words}", "MeV", True, "energy"))
    for index, (_, name, words) in enumerate(layers):
        # the tail of a shower leaks little into the last layer, over several decades
        table.append(
            Observable(
                f"energy_fraction_{name}",
                rf"$E/E_\mathrm{{tot}}$, {words}",
                "",
                0 < index == deepest,
                "sharing",
            )
        )
    for layer, name, words in layers:
        if layer.n_cells > 1:
            label = f"$(E_1-E_2)/(E_1+E_2)$, {words}"
            table.append(Observable(f"energy_ratio_{name}", label, "", False, "sharing"))
    for layer, name, words in layers:
        for axis in _axes(layer):
            label = rf"$\langle {_SYMBOL[axis]}\rangle$, {words}"
            table.append(Observable(f"centre_{axis}_{name}", label, "mm", False, "position"))
    for layer, name, words in layers:
        for axis in _axes(layer):
            label = rf"$\sigma_{{{_SYMBOL[axis]}}}$, {words}"
            table.append(Observable(f"width_{axis}_{name}", label, "mm", False, "width"))
    if deepest:
        table += [
            Observable("depth", "deepest layer hit", "", False, "depth"),
            Observable("lateral_depth", r"$l_d=\sum_i i\,E_i$", "MeV", True, "depth"),
            Observable("shower_depth", r"$s_d=l_d/E_\mathrm{tot}$", "", False, "depth"),
            Observable("shower_depth_width", r"$\sigma_{s_d}$", "", False, "depth"),
        ]
    for _, name, words in layers:
        label = f"fraction of cells > 0, {words}"
        table.append(Observable(f"fraction_nonzero_{name}", label, "", False, "cells"))
    for _, name, words in layers:
        label = f"fraction of cells > {threshold:g} MeV, {words}"
        table.append(Observable(f"fraction_active_{name}", label, "", False, "cells"))
    return tuple(table)


def calogan_observables(geometry: ShowerGeometry) -> tuple[str, ...]:
    """Return the names of CaloGAN's variables: 20 for its three layers (its Fig. 12)."""
    per_layer = ("energy", "energy_fraction", "energy_ratio", "width_x", "fraction_nonzero")
    of_shower = ("energy_total", "depth", "lateral_depth", "shower_depth", "shower_depth_width")
    names = {f"{kind}_{layer.name}" for kind in per_layer for layer in geometry.layers}
    return tuple(o.name for o in observable_table(geometry) if o.name in names | {*of_shower})


def observables(
    values: npt.NDArray[np.floating],
    geometry: ShowerGeometry,
    incident_energy: npt.NDArray[np.floating],
    threshold: float = CELL_THRESHOLD,
) -> dict[str, Array]:
    """Compute every observable of every shower.

    Parameters
    ----------
    values
        Deposited energies, shape ``(n, cells)``, MeV.
    geometry
        The readout that the cells belong to.
    incident_energy
        Shape ``(n,)``, GeV.
    threshold
        Energy above which a cell is active, MeV.

    Returns
    -------
    Arrays of shape ``(n,)`` in the order of `observable_table`, in the units stated there.
    """
    layer_energies = np.empty((len(values), len(geometry.layers)))
    found: dict[str, Array] = {}
    for index, layer in enumerate(geometry.layers):
        cells = np.ascontiguousarray(values[:, geometry.slices[index]], dtype=np.float64)
        positions = _positions(layer)
        weights = np.concatenate([np.ones((1, layer.n_cells)), positions, positions**2])
        moments = cells @ weights.T
        energy = layer_energies[:, index] = moments[:, 0]
        n = len(positions)
        centres = moments[:, 1 : n + 1] / (energy + _TINY)[:, None]
        squares = moments[:, n + 1 :] / (energy + _TINY)[:, None]
        widths = np.sqrt(np.clip(squares - centres**2, 0, None))
        found[f"energy_{layer.name}"] = energy
        for k, axis in enumerate(_axes(layer)):
            found[f"centre_{axis}_{layer.name}"] = centres[:, k]
            found[f"width_{axis}_{layer.name}"] = widths[:, k]
        found[f"fraction_nonzero_{layer.name}"] = (cells > 0).mean(1)
        found[f"fraction_active_{layer.name}"] = (cells > threshold).mean(1)
        if layer.n_cells > 1:
            found[f"energy_ratio_{layer.name}"] = _energy_ratio(cells)

    total = layer_energies.sum(1)
    safe = np.where(total > 0, total, 1.0)
    for index, layer in enumerate(geometry.layers):
        found[f"energy_fraction_{layer.name}"] = layer_energies[:, index] / safe
    found["energy_total"] = total
    found["energy_response"] = total / (np.asarray(incident_energy, np.float64) * MEV_PER_GEV)
    if len(geometry.layers) > 1:
        depths = np.arange(len(geometry.layers), dtype=np.float64)
        found["depth"] = ((layer_energies > 0) * depths).max(1)
        found["lateral_depth"] = layer_energies @ depths
        mean = found["shower_depth"] = found["lateral_depth"] / safe
        variance = layer_energies @ depths**2 / safe - mean**2
        found["shower_depth_width"] = np.sqrt(np.clip(variance, 0, None))
    return {o.name: found[o.name] for o in observable_table(geometry, threshold)}


def constant(found: Mapping[str, Array], geometry: ShowerGeometry) -> frozenset[str]:
    """Return the names of `observables` whose width is none, or rounding: 1e-6 of their scale.

    The scale is the largest value; of positions and widths, which are small differences of large
    numbers, at least the calorimeter's half width, and of depths at least a layer.
    """
    extent = max(float(np.abs(layer.centres).max()) for layer in geometry.layers)
    names = []
    for o in observable_table(geometry):
        least = extent if o.unit == "mm" else 1.0 if o.group == "depth" else 0.0
        scale = max(float(np.abs(found[o.name]).max()), least)
        if not np.std(found[o.name]) > _NARROW * scale:
            names.append(o.name)
    return frozenset(names)


def _energy_ratio(cells: Array) -> Array:
    """(E_1st - E_2nd) / (E_1st + E_2nd) of the two hottest cells; overwrites ``cells``."""
    rows, hottest = np.arange(len(cells)), cells.argmax(1)
    first = cells[rows, hottest]
    cells[rows, hottest] = -np.inf
    second = cells.max(1)
    ratio: Array = (first - second) / np.where(first > 0, first + second, 1.0)
    return ratio


def high_level_features(
    found: Mapping[str, Array],
    geometry: ShowerGeometry,
    incident_energy: npt.NDArray[np.floating],
) -> npt.NDArray[np.float32]:
    """Return CaloChallenge's feature vector, in its order.

    Parameters
    ----------
    found
        What `observables` gave for these showers.
    geometry
        Their readout; on ``x y`` layers, x and y stand for eta and phi and there is no r.
    incident_energy
        Shape ``(n,)``, GeV.

    Returns
    -------
    Shape ``(n, features)``: log10 E_inc, log10 E_layer (both MeV), centres, widths (both 100 mm),
    log10 E_tot, fraction of cells at or below the threshold, radial centres and widths.
    """
    names = [layer.name for layer in geometry.layers]
    columns = [np.log10(np.asarray(incident_energy, np.float64) * MEV_PER_GEV)]
    columns += [np.log10(found[f"energy_{name}"] + 1e-8) for name in names]

    def scaled(kind: str, *axes: str) -> list[Array]:
        keys = (f"{kind}_{axis}_{name}" for axis in axes for name in names)
        return [found[key] / 100 for key in keys if key in found]

    # a geometry with both kinds of layers does not exist: x y, or eta phi and r
    for kind in ("centre", "width"):
        columns += scaled(kind, "x", "eta") + scaled(kind, "y", "phi")
    columns.append(np.log10(found["energy_total"] + 1e-8))
    columns += [1 - found[f"fraction_active_{name}"] for name in names]
    columns += scaled("centre", "r") + scaled("width", "r")
    return np.stack(columns, 1).astype(np.float32)
