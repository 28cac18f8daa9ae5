"""Emulator files: found by name, read, checked; nothing in them can run."""

import hashlib
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emulators import pretrained
from emulators.config import nearest
from emulators.data.hdf5 import first_line
from emulators.data.spec import SampleSpec
from emulators.data.transforms import Transform
from emulators.emulator import FORMAT_VERSION, Emulator, name_of
from emulators.errors import InputError
from emulators.networks.base import build_generator

__all__ = ["load"]


def load(name: str | Path, device: str | None = None) -> Emulator:
    """Load an emulator.

    Parameters
    ----------
    name
        The name of a pretrained emulator, an emulator file, or a run folder (its ``emulator.pt``);
        a file or folder of a pretrained emulator's name is reached by its path, ``./name``.
    device
        Where to put it; None: a GPU where there is one, else the CPU.

    Raises
    ------
    InputError
        There is no such emulator, or the file is damaged, not ours, or of a newer format.
    """
    emulator = _read(_find(name))
    return emulator.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _find(name: str | Path) -> Path:
    if name in pretrained.available():
        return pretrained.path(str(name))
    path = Path(name)
    if path.is_dir():
        if not (path / "emulator.pt").is_file():
            raise InputError(f"{path}: this folder holds no emulator.pt; is it a finished run?")
        return path / "emulator.pt"
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"{path}: no such emulator file or run folder")
    known = list(pretrained.available())
    hint = nearest(str(name), known) if known else " (none are installed)"
    raise InputError(f"'{name}' is neither a file, a run nor a pretrained emulator{hint}")


def _read(path: Path) -> Emulator:
    data = _contents(path)
    keys = ("format_version", "architecture", "options", "spec", "transform", "state")
    missing = [key for key in keys if key not in data]
    if data.get("format") != "emulators":
        raise InputError(f"{path}: a torch file, but not an emulator (is it a checkpoint?)")
    if missing:
        raise InputError(f"{path}: damaged emulator file, without '{missing[0]}'")
    if data["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{path}: written in format {data['format_version']!r}, this version reads "
            f"{FORMAT_VERSION}; update with: pip install --upgrade physics-gan-emulators"
        )
    try:
        spec = SampleSpec.from_mapping(data["spec"])
        generator = build_generator(data["architecture"], data["options"], spec)
        transform = Transform(spec, **data["transform"])
        emulator = Emulator(
            generator,
            transform,
            spec,
            data["architecture"],
            data["options"],
            data.get("card"),
            name_of(path),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: damaged emulator file: {first_line(error)}") from None
    state = data["state"] if isinstance(data["state"], dict) else {}
    expected = {k: tuple(v.shape) for k, v in emulator._state().items()}
    found = {k: tuple(v.shape) for k, v in state.items() if isinstance(v, Tensor)}
    absent = {k for k in expected.keys() - found.keys() if k.endswith(".fitted")}  # of before
    for key in sorted((expected.keys() | found.keys()) - absent):
        if expected.get(key) != found.get(key):
            raise InputError(
                f"{path}: weights do not fit the network '{emulator.architecture}': {key} has "
                f"shape {found.get(key)}, expected {expected.get(key)}"
            )
        if not torch.isfinite(state[key]).all():
            raise InputError(f"{path}: '{key}' holds NaN or infinity: a training that diverged?")
    for part, module in (("generator", generator), ("transform", transform)):
        prefix = f"{part}."
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
    generator.eval()
    emulator._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return emulator


def _contents(path: Path) -> dict[str, Any]:
    """Read plain values and tensors; nothing in the file can run."""
    try:
        if not zipfile.is_zipfile(path):
            size = path.stat().st_size
            raise InputError(f"{path}: not an emulator file, or cut short ({size} bytes)")
        data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"'{found[1]}'" if found else "other objects than tensors and plain values"
        raise InputError(
            f"{path}: refused, since it holds {what}, and reading that could run code"
        ) from None
    except InputError:
        raise
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: damaged torch file: {first_line(error)}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: a torch file, but not an emulator")
    return data
