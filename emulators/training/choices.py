"""The choices that a recipe leaves to the program: transform, precision, device."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

import emulators.networks  # noqa: F401  (registers the architectures)
from emulators.config import nearest
from emulators.data.dataset import Dataset
from emulators.data.transforms import suited
from emulators.errors import InputError
from emulators.networks.base import ARCHITECTURES
from emulators.training.recipe import Recipe

__all__ = ["resolve"]

GLANCE_SAMPLES, GLANCE_CELLS = 256, 1 << 24  # what transforms that suit the values are chosen by


def resolve(
    recipe: Recipe, dataset: Dataset, rows: npt.NDArray[np.int64], device: torch.device
) -> Recipe:
    """Return the recipe with every choice that was left to the program made and written out.

    Parameters
    ----------
    recipe
        As it was written.
    dataset, rows
        Its data, and the rows to train on, ``(n,)``.
    device
        Where it is trained.

    Raises
    ------
    InputError
        There is no such network, or no transform that suits its values.
    """
    name = recipe.architecture
    if name not in ARCHITECTURES:
        raise InputError(f"unknown network '{name}'{nearest(name, list(ARCHITECTURES))}")
    entry, table = ARCHITECTURES[name], recipe.training
    steps = recipe.transform.steps
    if steps is None:
        steps = entry.transform
        if entry.units and dataset.spec.unit not in entry.units:
            steps = suited(dataset.spec.unit, _glance(dataset, rows), entry.makes)
    return recipe.replace(
        data={"path": str(Path(dataset.path).absolute()), "layout": dataset.layout},
        transform={"steps": steps, "condition": recipe.transform.condition or entry.condition},
        training={
            "precision": _precision(device) if table.precision == "auto" else table.precision,
            "device": device.type if table.device == "auto" else table.device,
        },
    )


def _precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return bfloat16 where its products are an instruction of the device, and not emulated."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    checks = (getattr(torch.cpu, f"_is_{n}_supported", None) for n in ("avx512_bf16", "amx_tile"))
    native = device.type == "cpu" and any(check is not None and check() for check in checks)
    return "bfloat16" if native else "float32"


def _glance(dataset: Dataset, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the values of a few samples of these rows, from the first to the last."""
    n = max(1, min(len(rows), GLANCE_SAMPLES, GLANCE_CELLS // math.prod(dataset.spec.shape)))
    return dataset.take(np.unique(rows[np.linspace(0, len(rows) - 1, n).astype(int)])).values
