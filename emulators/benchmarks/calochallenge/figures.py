"""The data sets of CaloChallenge, and how its ``evaluate.py`` takes their showers.

References
----------
Krause et al., arXiv:2410.21611.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from emulators.benchmarks.pair import other_edges, same_shapes
from emulators.data.dataset import Dataset
from emulators.data.geometries import calochallenge
from emulators.data.spec import ShowerGeometry
from emulators.errors import InputError

__all__ = ["CHALLENGES", "Challenge", "require_showers_of"]


@dataclass(frozen=True)
class Challenge:
    """How one data set of CaloChallenge is evaluated.

    Parameters
    ----------
    data_set
        ``1-photons``, ``1-pions``, ``2`` or ``3``.
    threshold
        Voxels below it count as empty, MeV.
    image
        Layers, alpha bins and r bins, where all layers are alike and a residual network is trained.
    """

    data_set: str
    threshold: float
    image: tuple[int, int, int] | None = None

    @property
    def discrete(self) -> bool:
        """Whether the showers have 15 incident energies, powers of two."""
        return self.data_set.startswith("1-")

    @cached_property
    def geometry(self) -> ShowerGeometry:
        """The readout."""
        return calochallenge(self.data_set)


# By the preset of `emulators benchmark`.  A readout of 0.5 keV over a sampling fraction of 0.033.
CHALLENGES = {
    "calochallenge-1-photons": Challenge("1-photons", 1.0),
    "calochallenge-1-pions": Challenge("1-pions", 1.0),
    "calochallenge-2": Challenge("2", 0.5e-3 / 0.033, (45, 16, 9)),
    "calochallenge-3": Challenge("3", 0.5e-3 / 0.033, (45, 50, 18)),
}


def require_showers_of(preset: str, path: str | Path) -> None:
    """Raise InputError unless a file has showers in the geometry of the preset's data set."""
    wanted, spec = CHALLENGES[preset].geometry, Dataset(path).spec
    for_what = f"{path}: preset '{preset}' is for showers of {wanted.n_cells} voxels"
    geometry = spec.geometry
    if geometry is None:
        raise InputError(f"{for_what}, these are {spec.kind}s")
    if not same_shapes(geometry, wanted) or other_edges(geometry, wanted):
        edges = " with other edges" if geometry.n_cells == wanted.n_cells else ""
        raise InputError(
            f"{for_what}, these have {geometry.n_cells} cells{edges} ({geometry.name}); take the "
            "preset of their data set, or 'calochallenge' for its classifiers alone"
        )
