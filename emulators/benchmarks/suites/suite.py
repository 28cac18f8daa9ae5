"""Benchmark suites as TOML files: several emulators that are trained or loaded, and compared."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emulators.benchmarks.classifier import PRESETS
from emulators.benchmarks.suites.metrics import known_metrics
from emulators.config import build, load_toml, nearest, override

__all__ = ["Measuring", "Reference", "Suite", "System", "read_suite"]


@dataclass(frozen=True)
class Reference:
    """``[data]``: the file of reference samples, whose test split is what is measured.

    Parameters
    ----------
    path
        HDF5 file, relative to where the command is run.
    validation, test
        Fractions kept from every training: the first chooses its best state, the second is never
        read by it.
    split_seed
        Seed of the split.
    """

    path: str
    validation: float = 0.05
    test: float = 0.25
    split_seed: int = 0

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test > 0 and self.validation + self.test < 1):
            raise ValueError(
                f"validation = {self.validation:g} and test = {self.test:g}: there must be samples "
                "to test on, and some left to train on"
            )
        if self.split_seed < 0:
            raise ValueError(f"split_seed must not be negative, got {self.split_seed}")


@dataclass(frozen=True)
class System:
    """``[[system]]``: one of those compared; exactly one of recipe, emulator and samples.

    Parameters
    ----------
    name
        What the report calls it.
    recipe
        TOML file of a training; the suite's data and split take the place of the recipe's.
    set
        ``table.key=value`` laid over the recipe.
    emulator
        Name of a pretrained emulator, an emulator file, or a run folder.
    samples
        HDF5 file that another program made.
    judged
        Whether the thresholds of the suite hold for it.
    """

    name: str
    recipe: str | None = None
    set: tuple[str, ...] = ()
    emulator: str | None = None
    samples: str | None = None
    judged: bool = True

    def __post_init__(self) -> None:
        if not self.slug:
            raise ValueError(f"name = '{self.name}': give it a letter or a digit")
        given = [k for k in ("recipe", "emulator", "samples") if getattr(self, k) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(
                f"'{self.name}' needs one of recipe, emulator and samples; it has {found}"
            )
        if self.set and self.recipe is None:
            raise ValueError(f"'{self.name}': set changes a recipe, and there is none")

    @property
    def slug(self) -> str:
        """The name of its files and folders."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-.")


@dataclass(frozen=True)
class Measuring:
    """``[benchmark]``: what every report is made with, see `report.benchmark`."""

    seeds: int = 3
    preset: str = "fast"
    max_samples: int | None = None
    speed: bool = True
    beside: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(
                f"no classifier preset '{self.preset}'{nearest(self.preset, list(PRESETS))}"
            )
        for name in ("seeds", "max_samples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Suite:
    """A whole suite; each field is a key or a table of the TOML file.

    Parameters
    ----------
    title, kind
        What it is called, and of which kind its samples are.
    data, system, benchmark
        See `Reference`, `System`, `Measuring`.
    recipe
        Tables of a recipe that are laid over all recipes, after their own ``set``: a common budget.
    thresholds
        How far numbers of the reports may go, by name, ``"classifiers/high" = 0.65``; of those of
        which more is better (recall, worth) how far they must.
    check
        Whether the command ends with exit code 1 where a threshold is not met.
    """

    title: str
    kind: Literal["shower", "field"]
    data: Reference
    system: tuple[System, ...]
    benchmark: Measuring = field(default_factory=Measuring)
    recipe: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    check: bool = False

    def __post_init__(self) -> None:
        if not self.system:
            raise ValueError("there is no [[system]] to measure")
        slugs = [s.slug for s in self.system]
        for i, slug in enumerate(slugs):
            if slug in slugs[:i]:
                first = self.system[slugs.index(slug)].name
                raise ValueError(
                    f"'{first}' and '{self.system[i].name}' would share the files of '{slug}'"
                )
        if self.check and not (self.thresholds and any(s.judged for s in self.system)):
            raise ValueError("a check needs thresholds, and a system that they hold for")
        known = known_metrics(self.kind)
        for name in self.thresholds:
            if name not in known:
                raise ValueError(f"thresholds: no metric '{name}'{nearest(name, known)}")


def read_suite(path: str | Path, settings: Sequence[str] = ()) -> Suite:
    """Read a suite from TOML, with ``["table.key=value", ...]`` laid over it."""
    return build(Suite, override(load_toml(path), settings))
