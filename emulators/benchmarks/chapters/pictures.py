"""Single fields side by side: what no mean shows."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.channel import Array, Channel, channels
from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.drawing import symbol
from emulators.benchmarks.measured import Measured, Picture
from emulators.benchmarks.pair import Pair, Rows
from emulators.data.transforms import decades
from emulators.random import stream

SHOWN = 4  # of each sample
PIXELS = 256  # along an axis, at most
WORDS = 3  # conditions above a panel, at most


@chapter(
    "pictures",
    "Fields",
    ("field",),
    "Reference fields, drawn at random, and below them generated fields at the closest conditions. "
    "Knots, filaments and voids should be as sharp and as large in both.",
)
def pictures(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Choose reference fields at random and generated ones of the closest conditions."""
    positions = _positions(pair, settings["seed"])
    return [_picture(channel, positions) for channel in channels(pair, settings)]


def _positions(pair: Pair, seed: int) -> dict[str, Rows]:
    reference, generated = pair.conditions["reference"], pair.conditions["generated"]
    order = stream(seed, "pictures").permutation(len(reference))
    order = order[_spread(reference[order])]
    if pair.paired:
        return {"reference": order, "generated": order}
    width = np.where(reference.std(0) > 0, reference.std(0), 1.0)
    free = np.ones(len(generated), bool)
    partners = []
    for i in order:
        distance = (((generated - reference[i]) / width) ** 2).sum(1)
        partners.append(int(np.where(free, distance, np.inf).argmin()))
        free[partners[-1]] = False
    return {"reference": order, "generated": np.array(partners)}


def _spread(conditions: Array) -> Rows:
    """Return a few positions, from low to high along the last condition that varies."""
    count = min(SHOWN, len(conditions))
    varying = np.flatnonzero(np.ptp(conditions, axis=0) > 0)
    if not len(varying):
        return np.arange(count)
    order = np.argsort(conditions[:, varying[-1]], kind="stable")
    return np.asarray(order[np.linspace(0, len(order) - 1, count).round().astype(int)])


def _picture(channel: Channel, positions: dict[str, Rows]) -> Picture:
    """Show maps, or of boxes the mean over the middle eighth along the first axis."""
    pair, grid = channel.pair, channel.grid
    maps = {
        name: np.array([_map(f) for f in pair.read(name, channel.index, rows)])
        for name, rows in positions.items()
    }
    scale, words, unit = _scale(channel.unit, maps["reference"])
    low, high = np.quantile(scale(maps["reference"]), [0.005, 0.9995])
    panels = {k: np.clip(scale(m), low, max(low, high)) for k, m in maps.items()}
    thick = _thickness(channel.cells[0]) * grid.lengths[0] / channel.cells[0]
    slab = f" Mean over the middle {thick:.3g} {grid.unit}." if len(channel.cells) == 3 else ""
    edges = tuple(
        np.linspace(0, length * (n // _step(channel.cells)) * _step(channel.cells) / n, pixels + 1)
        for n, length, pixels in zip(
            channel.cells[-2:], grid.lengths[-2:], maps["reference"].shape[1:]
        )
    )
    return Picture(
        name=channel.key("fields"),
        label=f"{channel.name.replace('_', ' ')}{words}",
        caption="Numbers are rows of the files; one scale of colours, that of the reference."
        + slab,
        panels=tuple(tuple(np.asarray(panels[k], np.float64)) for k in ("reference", "generated")),
        titles=("reference", "emulator"),
        names=tuple(
            tuple(_words(pair, name, i) for i in positions[name])
            for name in ("reference", "generated")
        ),
        unit=unit,
        edges=(edges, edges),
        axes=(f"{grid.axes[-2]} [{grid.unit}]", f"{grid.axes[-1]} [{grid.unit}]"),
    )


def _words(pair: Pair, name: str, position: int) -> str:
    values = list(zip(pair.names, pair.conditions[name][position]))[:WORDS]
    row = str(pair.rows[name][position])
    conditions = ", ".join(f"{symbol(condition)} = {value:.3g}" for condition, value in values)
    return f"{row}: {conditions}" if conditions else row


def _thickness(cells: int) -> int:
    return max(1, cells // 8)


def _step(cells: Sequence[int]) -> int:
    """Return how many cells along an axis are a pixel."""
    return -(-max(cells[-2:]) // PIXELS)


def _map(field: npt.NDArray[np.float32]) -> Array:
    if field.ndim == 3:
        thick = _thickness(len(field))
        first = (len(field) - thick) // 2
        field = field[first : first + thick].mean(0)
    step = _step(field.shape)
    height, width = (n // step for n in field.shape)
    cut = field[: height * step, : width * step].reshape(height, step, width, step)
    return np.asarray(cut.mean((1, 3)), np.float64)


def _scale(unit: str, values: Array) -> tuple[Callable[[Array], Array], str, str]:
    """Return what makes values colours, the words for it, and the unit of colours."""
    if unit == "count":
        return lambda x: np.log10(1 + np.maximum(x, 0)), ", log10(1 + count)", ""
    if unit == "overdensity":
        return lambda x: np.log10(1.01 + np.maximum(x, -1)), ", log10(1.01 + overdensity)", ""
    if ends := decades(values):
        words = f", log10 of {unit}" if unit else ", log10"
        return lambda x: np.log10(np.maximum(x, ends[0])), words, ""
    return lambda x: x, "", unit
