"""Fields of both samples side by side, as pixels of one scale of colour."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.field_report.pair import FieldPair
from emulators.data.transforms import decades
from emulators.random import stream

__all__ = ["pictures"]

SHOWN = 4  # of each sample
PIXELS = 256  # along an axis, at most


def pictures(pair: FieldPair, channel: int, seed: int) -> dict[str, Any]:
    """Choose reference fields at random and generated ones of the closest conditions.

    Of boxes the mean over the middle eighth along the first axis is shown.

    Returns
    -------
    ``low`` and ``high`` of the scale, what it ``shows``, ``axes``, ``lengths``, ``shape`` and for
    each sample a list of ``row``, ``conditions`` and ``pixels`` (0 to 255, one byte each, base64).
    """
    reference, generated = (pair.conditions[k] for k in ("reference", "generated"))
    drawn = stream(seed, "pictures").permutation(len(reference))
    order = drawn[_spread(reference[drawn])]
    spread = np.where(reference.std(0) > 0, reference.std(0), 1.0)
    free = np.ones(len(generated), bool)
    partners = []
    for i in order:
        if pair.paired:
            partners.append(int(i))
            continue
        far = (((generated - reference[i]) / spread) ** 2).sum(1)
        partners.append(int(np.where(free, far, np.inf).argmin()))
        free[partners[-1]] = False
    positions = {"reference": order, "generated": np.array(partners)}
    maps = {k: [_map(f) for f in pair.read(k, channel, p)] for k, p in positions.items()}
    scale, words = _scale(pair.spec.unit, np.array(maps["reference"]))
    scaled = {k: [scale(m) for m in maps[k]] for k in maps}
    low, high = np.quantile(np.array(scaled["reference"]), [0.005, 0.9995])
    high = high if high > low else low + 1.0
    grid = pair.grid
    return {
        "low": low,
        "high": high,
        "shows": f"{grid.channels[channel].replace('_', ' ')}, {words}",
        "axes": grid.axes[-2:],
        "lengths": grid.lengths[-2:],
        "depth": grid.lengths[0] / 8 if len(grid.axes) == 3 else None,
        "unit": grid.unit,
        "shape": scaled["reference"][0].shape,
        **{
            name: [
                {
                    "row": int(pair.rows[name][p]),
                    "conditions": dict(zip(pair.names, pair.conditions[name][p], strict=True)),
                    "pixels": _pixels(m, low, high),
                }
                for p, m in zip(positions[name], scaled[name], strict=True)
            ]
            for name in positions
        },
    }


def _spread(conditions: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return a few positions, from low to high along the last condition that varies."""
    count = min(SHOWN, len(conditions))
    varying = np.flatnonzero(np.ptp(conditions, axis=0) > 0)
    if not len(varying):
        return np.arange(count)
    order = np.argsort(conditions[:, varying[-1]], kind="stable")
    return np.asarray(order[np.linspace(0, len(order) - 1, count).round().astype(int)])


def _map(field: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    if field.ndim == 3:
        n = len(field)
        thick = max(1, n // 8)
        first = (n - thick) // 2
        field = field[first : first + thick].mean(0)
    step = -(-max(field.shape) // PIXELS)
    cut = field[: field.shape[0] // step * step, : field.shape[1] // step * step]
    shape = (cut.shape[0] // step, step, cut.shape[1] // step, step)
    return np.asarray(cut.reshape(shape).mean((1, 3)), np.float64)


def _scale(unit: str, values: npt.NDArray[np.float64]) -> tuple[Any, str]:
    if unit == "count":
        return lambda x: np.log10(1 + np.maximum(x, 0)), "log10(1 + count)"
    if unit == "overdensity":
        return lambda x: np.log10(1.01 + np.maximum(x, -1)), "log10(1.01 + overdensity)"
    if ends := decades(values):
        words = f"log10 of {unit}" if unit else "log10"
        return lambda x: np.log10(np.maximum(x, ends[0])), words
    return lambda x: x, unit


def _pixels(values: npt.NDArray[np.float64], low: float, high: float) -> str:
    levels = np.clip(np.rint(255 * (values - low) / (high - low)), 0, 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode()
