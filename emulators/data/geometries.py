"""The calorimeters of the public data sets, and the reader of CaloChallenge's binning files."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emulators.config import nearest
from emulators.data.spec import ReadoutLayer, ShowerGeometry
from emulators.errors import InputError

__all__ = ["calochallenge", "calogan", "from_binning_xml", "named"]

# Radial edges (mm) and number of alpha bins of ATLAS's layers as CaloChallenge data set 1 bins
# them: arXiv:2410.21611 and the published binning_dataset_1_{photons,pions}.xml.
ATLAS_LAYERS: dict[str, dict[int, tuple[tuple[float, ...], int]]] = {
    "1-photons": {
        0: ((0, 5, 10, 30, 50, 100, 200, 400, 600), 1),
        1: ((0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200), 10),
        2: (
            (0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300, 350, 400),
            10,
        ),
        3: ((0, 50, 100, 200, 400, 600), 1),
        12: ((0, 100, 200, 400, 1000, 2000), 1),
    },
    "1-pions": {
        0: ((0, 5, 10, 30, 50, 100, 200, 400, 600), 1),
        1: ((0, 1, 4, 7, 10, 15, 30, 50, 90, 150, 200), 10),
        2: ((0, 5, 10, 20, 30, 50, 80, 130, 200, 300, 400), 10),
        3: ((0, 50, 100, 200, 400, 600), 1),
        12: ((0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400, 1000, 2000), 10),
        13: ((0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400, 600, 1000, 2000), 10),
        14: ((0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000), 1),
    },
}
# Bins in alpha and r of the regular data sets; both reach out to 41.85 mm in 45 layers of 3.4 mm.
REGULAR_LAYERS = {"2": (16, 9), "3": (50, 18)}


def calogan() -> ShowerGeometry:
    """Return CaloGAN's block: three layers of 3 x 96, 12 x 12 and 12 x 6 cells, 504 in all.

    The cells cover the square from -240 to 240 mm; depths are counted from the front face.
    Paganini, de Oliveira and Nachman, arXiv:1712.10321.
    """
    layers = (((3, 96), (0.0, 90.0)), ((12, 12), (90.0, 437.0)), ((12, 6), (437.0, 480.0)))
    return ShowerGeometry(
        "calogan",
        tuple(
            ReadoutLayer(f"layer_{i}", ("x", "y"), (_even(240, shape[0]), _even(240, shape[1])), z)
            for i, (shape, z) in enumerate(layers)
        ),
    )


def calochallenge(name: str) -> ShowerGeometry:
    """Return the geometry of one CaloChallenge data set, arXiv:2410.21611.

    Parameters
    ----------
    name
        ``1-photons`` (368 voxels), ``1-pions`` (533), ``2`` (6,480) or ``3`` (40,500).
    """
    if name in ATLAS_LAYERS:
        layers = [_cylinder(i, r, n_alpha) for i, (r, n_alpha) in ATLAS_LAYERS[name].items()]
    elif name in REGULAR_LAYERS:
        n_alpha, n_r = REGULAR_LAYERS[name]
        edges = [round(41.85 * i / n_r, 6) for i in range(n_r + 1)]
        layers = [
            _cylinder(i, edges, n_alpha, (round(3.4 * i, 6), round(3.4 * (i + 1), 6)))
            for i in range(45)
        ]
    else:
        known = [*ATLAS_LAYERS, *REGULAR_LAYERS]
        raise InputError(f"unknown CaloChallenge data set '{name}'{nearest(name, known)}")
    return ShowerGeometry(f"calochallenge-{name}", tuple(layers))


def named(name: str) -> ShowerGeometry:
    """Return ``calogan`` or ``calochallenge-<data set>``; InputError where it is neither."""
    known = ["calogan", *(f"calochallenge-{n}" for n in (*ATLAS_LAYERS, *REGULAR_LAYERS))]
    if name not in known:
        raise InputError(f"unknown geometry '{name}'{nearest(name, known)}")
    return calogan() if name == "calogan" else calochallenge(name.removeprefix("calochallenge-"))


def from_binning_xml(path: str | Path, particle: str) -> ShowerGeometry:
    """Read a geometry from a CaloChallenge binning file.

    Parameters
    ----------
    path
        An XML file ``<Bins><Bin name=...><Layer id= r_edges="0,5,..." n_bin_alpha=/>``; r in mm.
        Layers with a single edge are not read out and are left out.
    particle
        The ``name`` of the ``Bin``: ``photon``, ``pion`` or ``electron``.

    Raises
    ------
    InputError
        The file is absent, is not such a file, lacks the particle, or has bad edges.
    """
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise InputError(f"{path}: no such binning file") from None
    except (OSError, ElementTree.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable XML file: {error}") from None
    bins = root.findall("Bin") if root.tag == "Bins" else []
    if not bins:
        raise InputError(f"{path}: not a binning file: it should hold <Bins> with a <Bin> in it")
    chosen = [b for b in bins if b.get("name") == particle]
    if not chosen:
        names = sorted({b.get("name", "") for b in bins})
        raise InputError(f"{path}: no bins for particle '{particle}'{nearest(particle, names)}")
    if len(chosen) > 1:
        raise InputError(f"{path}: {len(chosen)} ranges in eta for '{particle}', expected one")
    layers = [layer for element in chosen[0] if (layer := _xml_layer(path, element)) is not None]
    if not layers:
        raise InputError(f"{path}: no layer of '{particle}' has more than one edge in r")
    return ShowerGeometry(path.stem, tuple(layers))


def _xml_layer(path: Path, element: ElementTree.Element) -> ReadoutLayer | None:
    where = f"{path}: layer {element.get('id', '?')}"
    try:
        number, edges = int(element.attrib["id"]), element.attrib["r_edges"]
        radii = [float(edge) for edge in edges.split(",")]
        n_alpha = int(element.attrib["n_bin_alpha"])
    except KeyError as error:
        raise InputError(f"{where}: attribute {error} is missing") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if len(radii) == 1:
        return None
    if n_alpha < 1:
        raise InputError(f"{where}: n_bin_alpha is {n_alpha}, it must be 1 or more")
    if radii[0] < 0 or not all(map(math.isfinite, radii)):
        raise InputError(f"{where}: r_edges must be finite and not negative, got {edges}")
    try:
        return _cylinder(number, radii, n_alpha)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _cylinder(
    number: int, radii: Sequence[float], n_alpha: int, depth: tuple[float, float] | None = None
) -> ReadoutLayer:
    edges = (_even(math.pi, n_alpha), tuple(map(float, radii)))
    return ReadoutLayer(f"layer_{number}", ("alpha", "r"), edges, depth)


def _even(half_width: float, n: int) -> tuple[float, ...]:
    return tuple(np.linspace(-half_width, half_width, n + 1).tolist())
