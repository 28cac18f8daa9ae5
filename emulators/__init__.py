"""GAN emulators of slow physics simulations: train, generate, measure."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulators.benchmarks.report import benchmark
    from emulators.data.dataset import Dataset
    from emulators.emulator import Emulator
    from emulators.errors import InputError
    from emulators.generation import generate_file
    from emulators.loading import load
    from emulators.training.loop import train

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Emulator",
    "InputError",
    "__version__",
    "benchmark",
    "generate_file",
    "load",
    "train",
]

# Resolved on first use (PEP 562), so that `import emulators` costs milliseconds, not torch.
_HOMES = {
    "Dataset": "emulators.data.dataset",
    "Emulator": "emulators.emulator",
    "InputError": "emulators.errors",
    "benchmark": "emulators.benchmarks.report",
    "generate_file": "emulators.generation",
    "load": "emulators.loading",
    "train": "emulators.training.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emulators' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
