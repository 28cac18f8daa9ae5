"""The training state on disk: whole or not at all, plain values and tensors only."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from emulators.errors import InputError

__all__ = ["FORMAT_VERSION", "load", "save", "write_text"]

FORMAT = "emulators training state"
FORMAT_VERSION = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a training state: to a temporary name, to the disk, then to its own name."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        torch.save({"format": FORMAT, "format_version": FORMAT_VERSION, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(path: Path, device: torch.device | None = None) -> dict[str, Any]:
    """Read what `save` wrote, without running any code that the file may hold.

    Raises
    ------
    InputError
        The file is absent, truncated, not a training state, or of a later version.
    """
    try:
        state = torch.load(path, map_location=device or "cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such training state") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        raise InputError(f"{path}: not a training state, or truncated") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path}: not a training state")
    if state.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: training state of version {state.get('format_version')!r}, this release "
            f"reads version {FORMAT_VERSION}"
        )
    return state


def write_text(path: Path, text: str) -> None:
    """Write a small text file, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
