"""A file of samples in words."""

from pathlib import Path
from typing import Any

import numpy as np

from emulators.data.dataset import Dataset
from emulators.data.spec import MEV_PER_GEV, ReadoutLayer, ShowerGeometry

__all__ = ["describe"]

SAMPLES = 10_000  # that the mean values are taken over


def describe(
    path: str | Path, layout: str | None = None, geometry: ShowerGeometry | None = None
) -> str:
    """Return what a file holds: counts, geometry, conditions, mean deposits, attributes.

    Parameters
    ----------
    path
        The file.
    layout, geometry
        As for `Dataset`.

    Raises
    ------
    InputError
        The file is not a readable file of samples.
    """
    dataset = Dataset(path, layout, geometry)
    spec, n = dataset.spec, len(dataset)
    assert spec.geometry is not None
    size = dataset.path.stat().st_size
    lines = [f"{dataset.path}", _row("samples", f"{n:,} {spec.kind}s, {size / 1e6:.1f} MB")]
    lines.append(_row("layout", dataset.layout))
    if spec.particle:
        lines.append(_row("particle", spec.particle))
    lines.append(_row("geometry", f"{spec.geometry.name}: {spec.geometry.n_cells:,} cells"))
    layers = [_layer(layer) for layer in spec.geometry.layers]
    shown = layers if len(layers) <= 8 else [*layers[:3], f"... {len(layers)} layers ..."]
    lines += [_row("", layer) for layer in shown]
    conditions = dataset.read_conditions(0, n)
    for c in spec.conditions:
        values = conditions[c.name]
        text = f"{values.min():.6g} to {values.max():.6g} {c.unit}, median {np.median(values):.4g}"
        lines.append(_row(c.name, f"{text} (range {c.minimum:g}-{c.maximum:g}, {c.scale})"))
    first = dataset.read(0, min(n, SAMPLES))
    energy = first.conditions["incident_energy"].astype(np.float64) * MEV_PER_GEV
    fraction = first.values.sum(axis=1, dtype=np.float64) / energy
    occupied = (first.values > 0).sum(axis=1)
    of = "" if n <= SAMPLES else f" (first {SAMPLES:,} samples)"
    lines.append(_row("deposits", f"{fraction.mean():.4f} of the incident energy on average{of}"))
    lines.append(_row("non-zero cells", f"{occupied.mean():.1f} on average{of}"))
    if dataset.attributes:
        lines.append("attributes")
        lines += [_row(name, _short(value)) for name, value in dataset.attributes.items()]
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"  {name:<20}{text}"


def _layer(layer: ReadoutLayer) -> str:
    (a, b), (first, second) = layer.shape, layer.edges
    depth = f", depth {layer.depth[0]:g} to {layer.depth[1]:g} mm" if layer.depth else ""
    if layer.axes == ("x", "y"):
        extent = f"x {first[0]:g} to {first[-1]:g} mm, y {second[0]:g} to {second[-1]:g} mm"
        return f"{layer.name}: {a} x {b} cells, {extent}{depth}"
    return f"{layer.name}: {a} alpha x {b} r cells, r {second[0]:g} to {second[-1]:g} mm{depth}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
