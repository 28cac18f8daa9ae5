"""The recipe: a TOML file that says all of a training, as frozen dataclasses that check it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emulators.config import as_mapping, build, load_toml, nearest, override
from emulators.training.objectives import OBJECTIVES

__all__ = [
    "Data",
    "Game",
    "Monitor",
    "Optimiser",
    "Recipe",
    "Training",
    "Transform",
    "read_recipe",
    "recipe_from",
]

DEFAULT_SAMPLES = 1e7  # budget where a recipe gives neither samples nor minutes


def _positive(table: Any, *names: str) -> None:
    for name in names:
        if not getattr(table, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(table, name)!r}")


def _not_negative(table: Any, *names: str) -> None:
    for name in names:
        if not getattr(table, name) >= 0:
            raise ValueError(f"{name} must not be negative, got {getattr(table, name)!r}")


@dataclass(frozen=True)
class Data:
    """``[data]``: the file of reference samples and how it is split.

    Parameters
    ----------
    path
        HDF5 file, relative to where the command is run.
    layout
        Name of its layout; empty: recognised by its keys.
    conditions
        Columns of one number a sample that are conditions beside those that the layout has.
    validation, test
        Fractions kept from training: the first chooses the best state, the second is never read.
    split_seed
        Seed of the split, its own so that trainings with other seeds share the split.
    mirror
        Axes along which reference showers are mirrored at random, where the detector is symmetric.
    isotropic
        Whether reference fields have no preferred direction and place: they are then mirrored and
        turned at random, and shifted along periodic axes.
    """

    path: str
    layout: str = ""
    conditions: tuple[str, ...] = ()
    validation: float = 0.05
    test: float = 0.25
    split_seed: int = 0
    mirror: tuple[Literal["x", "y"], ...] = ()
    isotropic: bool = True

    def __post_init__(self) -> None:
        _not_negative(self, "validation", "test", "split_seed")
        if not self.validation + self.test < 1:
            raise ValueError(
                f"validation + test = {self.validation + self.test:g} leaves nothing to train on"
            )
        if len(set(self.mirror)) < len(self.mirror):
            raise ValueError(f"mirror names an axis twice: {list(self.mirror)}")


@dataclass(frozen=True)
class Transform:
    """``[transform]``: what replaces the transform that the architecture asks for."""

    steps: tuple[dict[str, Any], ...] | None = None
    condition: str | None = None


@dataclass(frozen=True)
class Game:
    """``[game]``: the objective, what keeps the critic smooth, and who moves how often.

    Parameters
    ----------
    objective
        Name of the adversarial loss.
    gradient_penalty, r1, r2
        Weights of the critic's gradient penalties; 0: none.  Unset, ``r1`` and ``r2`` are 0.1 for
        the relativistic objective, which does not converge without them, else 0.
    weight_clip
        Largest absolute weight of the critic; 0: not clipped.
    penalty_interval
        Gradient penalties act at every so many critic updates, with their weight times as much.
    spectral_norm
        Whether the critic's layers are divided by their largest singular value.
    n_critic, n_generator
        Updates of either network in one step.
    energy_weight
        Weight of CaloGAN's ``mean |sum of cells - incident energy|`` in GeV; CaloGAN took 0.05.
    conditions
        What generated samples are asked to be: as the reference batch (``data``), or drawn
        uniformly over the range of each condition (``range``, as CaloGAN did).
    """

    objective: str = "relativistic"
    gradient_penalty: float = 0.0
    r1: float | None = None
    r2: float | None = None
    weight_clip: float = 0.0
    penalty_interval: int = 1
    spectral_norm: bool = False
    n_critic: int = 1
    n_generator: int = 1
    energy_weight: float = 0.0
    conditions: Literal["data", "range"] = "data"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            known = nearest(self.objective, list(OBJECTIVES))
            raise ValueError(f"unknown objective '{self.objective}'{known}")
        for name in ("r1", "r2"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, 0.1 if OBJECTIVES[self.objective].paired else 0.0)
        _not_negative(self, "gradient_penalty", "r1", "r2", "weight_clip", "energy_weight")
        _positive(self, "penalty_interval", "n_critic", "n_generator")
        if self.gradient_penalty and self.conditions == "range":
            raise ValueError(
                'gradient_penalty mixes samples of equal conditions: set conditions = "data"'
            )


@dataclass(frozen=True)
class Optimiser:
    """``[optimiser]``: Adam for both networks, two rates, one schedule.

    Parameters
    ----------
    learning_rate_generator, learning_rate_critic
        Rates after the warm-up.
    betas
        Adam's decays of the first and second moment.
    warm_up
        Reference samples over which the rates rise linearly from zero.
    schedule
        ``cosine``: from the full rate to ``final`` times it over the budget; ``constant``.
    final
        Fraction of the rate that is left at the end of the budget.
    """

    learning_rate_generator: float = 3e-4
    learning_rate_critic: float = 3e-4
    betas: tuple[float, float] = (0.0, 0.99)
    warm_up: float = 50_000.0
    schedule: Literal["cosine", "constant"] = "cosine"
    final: float = 0.03

    def __post_init__(self) -> None:
        _positive(self, "learning_rate_generator", "learning_rate_critic")
        _not_negative(self, "warm_up", "final")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, got {list(self.betas)}")
        if self.final > 1:
            raise ValueError(f"final is a fraction of the rate, got {self.final!r}")


@dataclass(frozen=True)
class Training:
    """``[training]``: seed, batch, budget, precision, device.

    Parameters
    ----------
    seed
        Seed of weights, latents and the order of the reference samples.
    batch_size
        Samples of one batch, over all processes together.
    samples, minutes
        The budget: reference samples seen by the critic, minutes of wall clock (kept across
        resumes), or whichever is spent first.
    ema_half_life
        Half-life of the generator's moving average, in reference samples seen by the critic.
    precision
        Of the networks' products; losses and penalties are float32 always. ``auto``: bfloat16
        where the device has it natively.
    device
        ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1`` ...
    checkpoint_minutes
        Time between two checkpoints.
    log_samples
        Reference samples between two lines of ``metrics.jsonl``.
    graphs
        Whether updates are recorded as CUDA graphs and launched as a whole: several times as fast
        where networks and batches are small.  For one process; on a CPU it changes nothing.
    start
        Name or file of an emulator whose generator is trained further, with a new critic: that of
        another simulation, of other settings of the game.  Network and transform must be its own.
    critic_alone
        Reference samples over which only the critic learns, so that a trained generator is not led
        astray by one that knows nothing yet.
    """

    seed: int = 0
    batch_size: int = 256
    samples: float | None = None
    minutes: float | None = None
    ema_half_life: float = 200_000.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    checkpoint_minutes: float = 5.0
    log_samples: float = 50_000.0
    graphs: bool = False
    start: str = ""
    critic_alone: float = 0.0

    def __post_init__(self) -> None:
        if self.samples is None and self.minutes is None:
            object.__setattr__(self, "samples", DEFAULT_SAMPLES)
        _not_negative(self, "seed", "ema_half_life", "critic_alone")
        _positive(self, "batch_size", "checkpoint_minutes", "log_samples")
        _positive(self, *(k for k in ("samples", "minutes") if getattr(self, k) is not None))


@dataclass(frozen=True)
class Monitor:
    """``[monitor]``: how often the physics is measured, on how many validation samples.

    Parameters
    ----------
    every
        Reference samples seen by the critic between two measurements.
    samples
        Validation samples, at most, that a measurement takes.
    previews
        Whether each measurement draws a picture.
    """

    every: float = 500_000.0
    samples: int = 2000
    previews: bool = True

    def __post_init__(self) -> None:
        _positive(self, "every", "samples")


@dataclass(frozen=True)
class Recipe:
    """A whole training; each field is a table of the TOML file."""

    data: Data
    network: dict[str, Any]
    transform: Transform = field(default_factory=Transform)
    game: Game = field(default_factory=Game)
    optimiser: Optimiser = field(default_factory=Optimiser)
    training: Training = field(default_factory=Training)
    monitor: Monitor = field(default_factory=Monitor)

    def __post_init__(self) -> None:
        if not isinstance(self.network.get("name"), str):
            raise ValueError('the table [network] needs a name, e.g. name = "shower"')
        if self.training.graphs and self.game.gradient_penalty:
            raise ValueError("training.graphs cannot record the mixing of game.gradient_penalty")

    @property
    def architecture(self) -> str:
        """The registered name of the networks."""
        return str(self.network["name"])

    @property
    def options(self) -> dict[str, Any]:
        """The options of the networks."""
        return {key: value for key, value in self.network.items() if key != "name"}

    def replace(self, **tables: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with these values, e.g. ``replace(training={"samples": 1e6})``."""
        new = {k: dataclasses.replace(getattr(self, k), **dict(v)) for k, v in tables.items()}
        return dataclasses.replace(self, **new)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, for TOML, a checkpoint or an emulator's card."""
        return as_mapping(self)


def recipe_from(mapping: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain values; InputError names what is unknown, missing or impossible."""
    return build(Recipe, mapping)


def read_recipe(path: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML, with ``["table.key=value", ...]`` laid over it."""
    return recipe_from(override(load_toml(path), settings))
