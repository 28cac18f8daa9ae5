"""The training that an emulator is from, as a chapter: losses, and the physics it measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emulators.benchmarks.chapter import Result
from emulators.benchmarks.measured import Axis, Curve

__all__ = ["METRICS", "training_lines", "training_result"]

METRICS = {  # by which trainings choose their best state
    "scaled_w1": "mean Wasserstein distance / width",
    "field_distance": "field distance",
}
_OTHER = ("samples", "seconds", "learning_rate", "step")


def training_lines(run: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl`` of a run folder; none where it has no such file."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def training_result(run: Path, floors: Mapping[str, float]) -> Result | None:
    """Return the curves of a training; None where nothing was written down.

    Parameters
    ----------
    run
        Its folder.
    floors
        Of the metrics, between halves of its validation samples: the emulator's card has them.
    """
    lines = training_lines(run)
    names = dict.fromkeys(k for line in lines for k, v in line.items() if isinstance(v, float))
    curves = [
        _curve(lines, name, floors.get(name, np.nan))
        for name in sorted(names, key=lambda n: n not in METRICS)
        if not name.startswith(_OTHER) and not name.endswith("_largest")
    ]
    says = (
        "Losses, and the physics that the training measured on validation samples as it went. Of "
        "that less is better; grey is the same between two halves of the validation samples. A "
        "line that still falls at its end wants a longer training."
    )
    return Result("training", "Training", says, tuple(curves)) if curves else None


def _curve(lines: list[dict[str, Any]], name: str, floor: float) -> Curve:
    samples, values = np.array(
        [(line["samples"], line[name]) for line in lines if line.get(name) is not None], float
    ).T
    unknown = np.full(len(samples), np.nan)
    measured = name in METRICS
    return Curve(
        name=name,
        label=METRICS.get(name, name.replace("_", " ")),
        caption="What the training measured, and its losses.",
        x=samples,
        axis=Axis("samples seen"),
        reference=np.full(len(samples), floor),
        reference_error=np.zeros(len(samples)),
        generated=values,
        generated_error=np.zeros(len(samples)),
        deviation=unknown,
        error=unknown,
        floor=unknown,
        n=(len(samples), len(samples)),
        log=measured,
    )
