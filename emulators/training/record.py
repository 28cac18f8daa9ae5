"""What a run writes down about itself, in plain values and in words."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import emulators
from emulators.data.origins import training_record
from emulators.training.distributed import World
from emulators.training.trainer import Trainer

__all__ = [
    "card",
    "count",
    "device_name",
    "duration",
    "environment",
    "pairs",
    "step_of",
    "steps_in_words",
    "versions",
]

# What a data file says of its own origin, kept with the emulator.
ORIGIN = ("title", "generator", "physics_list", "licence", "citation", "acknowledgement")


def card(trainer: Trainer) -> dict[str, Any]:
    """Return where the emulator comes from; plain values, no paths of this machine."""
    recipe, data = trainer.recipe, trainer.recipe.data
    plain = recipe.to_mapping()
    plain["data"]["path"] = Path(data.path).name
    plain["training"]["start"] = Path(recipe.training.start).name
    return {
        "recipe": plain,
        "seed": recipe.training.seed,
        "data_file": Path(data.path).name,
        "data_sha256": trainer.dataset.sha256,
        "split": {
            "validation": data.validation,
            "test": data.test,
            "seed": data.split_seed,
            "rows": {name: len(rows) for name, rows in trainer.rows.items()},
        },
        "versions": versions(),
        **training_record(trainer.dataset, trainer.rows, trainer.start_card),
        "trained_on": {k: str(v) for k, v in trainer.dataset.attributes.items() if k in ORIGIN},
    }


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    return {
        "emulators": emulators.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
    }


def environment(world: World) -> dict[str, Any]:
    """Return where and how a run was started."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": versions(),
        "machine": platform.platform(),
        "device": device_name(world.device),
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def device_name(device: torch.device) -> str:
    """Return what a device is called."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type}, {torch.get_num_threads()} threads"


def step_of(line: str) -> float:
    """Return the step of a line of metrics; infinity where it was cut short by a kill."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def pairs(numbers: dict[str, float]) -> str:
    """Return numbers by name, on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def steps_in_words(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the steps of a transform in words, with their settings."""
    words = []
    for step in steps:
        settings = ", ".join(f"{k} = {v:g}" for k, v in step.items() if k != "name")
        words.append(f"{step['name']} ({settings})" if settings else str(step["name"]))
    return " > ".join(words) or "no transform"


def count(n: float) -> str:
    """Return a number of samples in words."""
    return f"{n / 1e6:.2f} M" if n >= 1e6 else f"{n / 1e3:.1f} k" if n >= 1e3 else f"{n:.0f}"


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
