"""Profiles of showers: energy along the axis, across it, and cell by cell."""

import numpy as np
import numpy.typing as npt

from emulators.data.spec import ReadoutLayer, ShowerGeometry

__all__ = ["cell_spectrum", "longitudinal", "radial", "radial_edges", "ring_areas"]

Array = npt.NDArray[np.float64]

RINGS = 12


def longitudinal(values: npt.NDArray[np.floating], geometry: ShowerGeometry) -> Array:
    """Return the energy in each layer, MeV, ``(n, layers)``, of deposits ``(n, cells)``."""
    return np.stack([values[:, s].sum(1, dtype=np.float64) for s in geometry.slices], 1)


def _radii(layer: ReadoutLayer) -> Array:
    """Return the distance of the centre of each cell from the axis, mm, flat.

    Of rings it is the middle of their radii; CaloChallenge's innermost ring of data set 1 begins
    at zero, and so has half of its outer radius.
    """
    if layer.axes == ("alpha", "r"):
        edges = np.asarray(layer.edges[1])
        return np.broadcast_to((edges[1:] + edges[:-1]) / 2, layer.shape).ravel()
    x, y = layer.centres
    return np.hypot(x, y).ravel()


def radial_edges(geometry: ShowerGeometry) -> Array:
    """Return edges of rings around the axis, mm: each holds cells, the first begins at zero.

    They are narrow near the axis, where most of the energy is, and wider outside.
    """
    radii = np.concatenate([_radii(layer) for layer in geometry.layers])
    largest = float(radii.max())
    edges = largest * np.linspace(0, 1, RINGS + 1) ** 2
    edges[-1] = np.nextafter(largest, np.inf)
    filled = np.histogram(radii, edges)[0] > 0
    return np.concatenate([edges[:1], edges[1:][filled]])


def ring_areas(geometry: ShowerGeometry, edges: npt.NDArray[np.float64]) -> Array:
    """Return the area of the cells in each ring, mm^2, ``(rings,)``, of all layers together."""
    areas = []
    for layer in geometry.layers:
        first, second = (np.asarray(e, np.float64) for e in layer.edges)
        if layer.axes == ("alpha", "r"):
            second = second**2 / 2
        areas.append(np.outer(np.diff(first), np.diff(second)).ravel())
    radii = np.concatenate([_radii(layer) for layer in geometry.layers])
    return np.histogram(radii, edges, weights=np.concatenate(areas))[0]


def radial(
    values: npt.NDArray[np.floating], geometry: ShowerGeometry, edges: npt.NDArray[np.float64]
) -> Array:
    """Return the energy in each ring around the axis, MeV, ``(n, rings)``, of all layers."""
    ring = np.searchsorted(
        edges[1:-1], np.concatenate([_radii(layer) for layer in geometry.layers]), side="right"
    )
    member = (ring[:, None] == np.arange(len(edges) - 1)).astype(np.float64)
    rows = max(1, 4_000_000 // len(ring))
    return np.concatenate(
        [values[i : i + rows].astype(np.float64) @ member for i in range(0, len(values), rows)]
    )


def cell_spectrum(values: npt.NDArray[np.floating], edges: npt.NDArray[np.float64]) -> Array:
    """Return how many cells of each shower have an energy in each bin, ``(n, bins)``.

    Bins are ``[edge, next edge)``; cells below the first and from the last edge on are left out.
    """
    bins = np.searchsorted(edges, values, side="right")
    n, width = len(values), len(edges) + 1
    flat = (bins + width * np.arange(n)[:, None]).ravel()
    return np.bincount(flat, minlength=n * width).reshape(n, width)[:, 1:-1].astype(np.float64)
