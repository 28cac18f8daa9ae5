"""The energy that a machine says it has used: counters of processors and accelerators, or nothing.

What has no counter is not estimated.  Counters are those of a whole processor or accelerator: its
idle power and whatever else runs there is in them.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["Counter", "counters", "joules"]

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"
_NVML_WRAP = 2**64 / 1000  # millijoules in 64 bits


@dataclass(frozen=True)
class Counter:
    """A counter of used energy: ``read`` returns joules, from zero again after ``wrap`` joules."""

    name: str
    read: Callable[[], float]
    wrap: float


def counters(device: str) -> list[Counter]:
    """Return the counters that can be read of what works when a device does.

    Parameters
    ----------
    device
        ``"cpu"``: the processor packages, by Linux's powercap (RAPL), which many systems let the
        administrator alone read.  ``"cuda"``: the accelerator too, by NVML.
    """
    readable = [c for path in sorted(POWERCAP.glob("intel-rapl:*")) if (c := _package(path))]
    if torch.device(device).type == "cuda" and (accelerator := _accelerator(device)):
        readable.append(accelerator)
    return readable


def joules(counted: Sequence[Counter], before: Sequence[float], after: Sequence[float]) -> float:
    """Return the energy used between two readings of all counters, J."""
    return sum((b - a) % c.wrap for c, a, b in zip(counted, before, after, strict=True))


def _package(path: Path) -> Counter | None:
    """Return a package's counter; None for its parts, which are in it, and where it is locked."""

    def read() -> float:
        return int((path / "energy_uj").read_text()) / 1e6

    try:
        name = (path / "name").read_text().strip()
        if not name.startswith("package"):  # a whole platform holds its packages
            return None
        read()
        wrap = int((path / "max_energy_range_uj").read_text()) / 1e6
        return Counter(f"{name} (RAPL)", read, wrap)
    except (OSError, ValueError):
        return None


def _accelerator(device: str) -> Counter | None:
    try:
        library = ctypes.CDLL(NVML)
    except OSError:
        return None
    properties = torch.cuda.get_device_properties(torch.device(device))
    # By its identifier: CUDA numbers the devices that are visible, NVML all that are there.
    uuid = f"GPU-{getattr(properties, 'uuid', '')}".encode()
    handle, value = ctypes.c_void_p(), ctypes.c_ulonglong()

    def failed() -> bool:
        return bool(library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value)))

    def read() -> float:
        if failed():
            raise OSError(f"{NVML} no longer tells the energy of {properties.name}")
        return value.value / 1000

    if (
        library.nvmlInit_v2()
        or library.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle))
        or failed()
    ):
        return None
    return Counter(f"{properties.name} (NVML)", read, _NVML_WRAP)
