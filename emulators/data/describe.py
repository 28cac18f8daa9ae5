"""A file of samples in words."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.data.dataset import Dataset
from emulators.data.spec import (
    MEV_PER_GEV,
    Condition,
    Grid,
    ReadoutLayer,
    Samples,
    SampleSpec,
    ShowerGeometry,
)

__all__ = ["describe"]

SAMPLES, BYTES = 10_000, 1 << 28  # that the mean values are taken over, at most


def describe(
    path: str | Path, layout: str | None = None, geometry: ShowerGeometry | None = None
) -> str:
    """Return what a file holds: samples, geometry or grid, conditions, mean values, attributes.

    Where the file says what its samples cost (data set ``seconds``), that as well.

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
    size = dataset.path.stat().st_size
    lines = [f"{dataset.path}", _row("samples", f"{n:,} {spec.kind}s, {size / 1e6:.1f} MB")]
    lines.append(_row("layout", dataset.layout))
    if spec.particle:
        lines.append(_row("particle", spec.particle))
    if spec.geometry:
        lines += _geometry(spec.geometry)
    if spec.grid:
        lines += _grid(spec.grid, spec.shape[1:]) + _components(spec.grid)
    conditions = dataset.read_conditions(0, n)
    lines += [_condition(c, conditions[c.name]) for c in spec.conditions if n]
    m = min(n, SAMPLES, max(1, BYTES // dataset.sample_bytes))
    if n:
        of = "" if n <= m else f" (first {m:,} samples)"
        lines += (_deposits if spec.kind == "shower" else _values)(spec, dataset.read(0, m), of)
    if "seconds" in dataset.beside and n:
        lines += _cost(dataset.column("seconds"), spec, conditions)
    if dataset.beside:
        lines.append("beside the samples")
    for key, column in dataset.beside.items():
        shape = f"({', '.join(('N', *map(str, column.shape)))}{'' if column.shape else ','})"
        lines.append(
            _row(key, _short(f"{shape} {column.unit}".rstrip() + f": {column.description}"))
        )
    if dataset.attributes:
        lines.append("attributes")
        lines += [_row(name, _short(value)) for name, value in dataset.attributes.items()]
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"  {name:<20}{text}"


def _geometry(geometry: ShowerGeometry) -> list[str]:
    layers = [_layer(layer) for layer in geometry.layers]
    shown = layers if len(layers) <= 8 else [*layers[:3], f"... {len(layers)} layers ..."]
    first = _row("geometry", f"{geometry.name}: {geometry.n_cells:,} cells")
    return [first, *(_row("", layer) for layer in shown)]


def _layer(layer: ReadoutLayer) -> str:
    (a, b), (first, second) = layer.shape, layer.edges
    depth = f", depth {layer.depth[0]:g} to {layer.depth[1]:g} mm" if layer.depth else ""
    if layer.axes == ("x", "y"):
        extent = f"x {first[0]:g} to {first[-1]:g} mm, y {second[0]:g} to {second[-1]:g} mm"
        return f"{layer.name}: {a} x {b} cells, {extent}{depth}"
    return f"{layer.name}: {a} alpha x {b} r cells, r {second[0]:g} to {second[-1]:g} mm{depth}"


def _grid(grid: Grid, cells: tuple[int, ...]) -> list[str]:
    lengths = zip(grid.axes, cells, grid.lengths, grid.periodic, strict=True)
    return [
        _row("grid" if i == 0 else "", f"{axis}: {length:g} {grid.unit} in {n} cells of "
             f"{length / n:.4g} {grid.unit}{', periodic' if periodic else ''}")
        for i, (axis, n, length, periodic) in enumerate(lengths)
    ]  # fmt: skip


def _components(grid: Grid) -> list[str]:
    words = [f"{a}: {b}" for a, b in zip(grid.channels, grid.components)]
    unknown = "not stated, so that trainings do not turn them: convert --components states it"
    return [_row("components", ", ".join(words) or unknown)]


def _condition(c: Condition, values: npt.NDArray[np.float32]) -> str:
    unit = f" {c.unit}" if c.unit else ""
    if c.minimum == c.maximum:
        return _row(c.name, f"{c.minimum:g}{unit}")
    text = f"{values.min():.6g} to {values.max():.6g}{unit}, median {np.median(values):.4g}"
    return _row(c.name, f"{text} (range {c.minimum:g}-{c.maximum:g}, {c.scale})")


def _deposits(spec: SampleSpec, first: Samples, of: str) -> list[str]:
    energy = first.conditions["incident_energy"].astype(np.float64) * MEV_PER_GEV
    fraction = first.values.sum(axis=1, dtype=np.float64) / energy
    occupied = (first.values > 0).sum(axis=1)
    return [
        _row("deposits", f"{fraction.mean():.4f} of the incident energy on average{of}"),
        _row("non-zero cells", f"{occupied.mean():.1f} on average{of}"),
    ]


def _values(spec: SampleSpec, first: Samples, of: str) -> list[str]:
    unit = f" {spec.unit}" if spec.unit else ""
    names = spec.grid.channels if spec.grid else [f"component {i}" for i in range(spec.shape[0])]
    lines = []
    for i, name in enumerate(names):
        values = first.values[:, i]
        mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        text = f"{mean:.4g}, standard deviation {spread:.4g}"
        lines.append(_row(name, f"mean {text}, {values.min():.4g} to {values.max():.4g}{unit}{of}"))
    return lines


def _cost(
    seconds: npt.NDArray[Any], spec: SampleSpec, conditions: dict[str, npt.NDArray[np.float32]]
) -> list[str]:
    """Say what the samples cost, and by the first condition that varies in up to four bins."""
    mean, total = seconds.mean(dtype=np.float64), seconds.sum(dtype=np.float64)
    in_all = f"{total / 3600:.3g} hours" if total > 3600 else f"{total:.3g} seconds"
    lines = [_row("reference cost", f"{mean:.3g} CPU seconds a sample, {in_all} in all")]
    for c in [c for c in spec.conditions if c.minimum < c.maximum][:1]:
        values = conditions[c.name]
        if len(distinct := np.unique(values)) <= min(4, len(values) // 2):
            bins = [(f"{v:g}", values == v) for v in distinct]
        else:
            spaced = np.geomspace if c.scale == "log" else np.linspace
            edges = spaced(c.minimum, c.maximum, 5)
            which = np.searchsorted(edges[1:-1], values, side="right")
            shown = [f"{float(f'{edge:.2g}'):g}" for edge in edges]
            bins = [(f"{shown[i]}-{shown[i + 1]}", which == i) for i in range(4)]
        costs = ", ".join(f"{seconds[r].mean():.3g} s at {b}" for b, r in bins if r.any())
        lines.append(_row("", f"by {c.name}{f' ({c.unit})' if c.unit else ''}: {costs}"))
    return lines


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
