"""Where Geant4 finds its data: its own, or small tables with which its electromagnetic part runs.

The tables ship as package data in `FOLDER`, made by `make_tables` from two public sources. They
serve photons, electrons and positrons in materials of `ELEMENTS`. What is approximate, the licences
and the figures of a comparison are in ``data/geant4/README.md``.
"""

import argparse
import importlib
import itertools
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.errors import InputError

__all__ = [
    "DATA_SETS",
    "ELEMENTS",
    "FOLDER",
    "HADRONS",
    "PARTICLES",
    "available",
    "data_environment",
    "make_tables",
]

Array = npt.NDArray[Any]

FOLDER = Path(__file__).with_name("geant4_data")

PARTICLES = {"photon": "gamma", "electron": "e-", "positron": "e+"}  # Geant4's names
HADRONS = {"pion": "pi+", "proton": "proton", "kaon": "kaon+", "neutron": "neutron"}

# Those of the materials of calorimeters and of what is usually around them; the card lists them.
# fmt: off
ELEMENTS: dict[int, str] = {
    1: "H", 2: "He", 4: "Be", 5: "B", 6: "C", 7: "N", 8: "O", 9: "F", 11: "Na", 12: "Mg", 13: "Al",
    14: "Si", 16: "S", 17: "Cl", 18: "Ar", 19: "K", 20: "Ca", 22: "Ti", 24: "Cr", 25: "Mn",
    26: "Fe", 28: "Ni", 29: "Cu", 30: "Zn", 31: "Ga", 32: "Ge", 33: "As", 35: "Br", 36: "Kr",
    39: "Y", 42: "Mo", 48: "Cd", 50: "Sn", 52: "Te", 53: "I", 54: "Xe", 55: "Cs", 56: "Ba",
    57: "La", 58: "Ce", 64: "Gd", 71: "Lu", 73: "Ta", 74: "W", 79: "Au", 82: "Pb", 83: "Bi",
    92: "U",
}
# fmt: on

# Every variable must lead to some folder; those marked are what hadronic physics reads.
DATA_SETS = {
    "G4LEDATA": ("G4EMLOW", True),
    "G4ENSDFSTATEDATA": ("G4ENSDFSTATE", True),
    "G4LEVELGAMMADATA": ("PhotonEvaporation", True),
    "G4PARTICLEXSDATA": ("G4PARTICLEXS", True),
    "G4SAIDXSDATA": ("G4SAIDDATA", True),
    "G4NEUTRONHPDATA": ("G4NDL", False),
    "G4RADIOACTIVEDATA": ("RadioactiveDecay", False),
    "G4PIIDATA": ("G4PII", False),
    "G4REALSURFACEDATA": ("RealSurface", False),
    "G4ABLADATA": ("G4ABLA", False),
    "G4INCLDATA": ("G4INCL", False),
    "G4CHANNELINGDATA": ("G4CHANNELING", False),
}

AVOGADRO = 6.02214076e23
HIGHEST = 100.0  # MeV; above it the photoelectric cross section is continued as 1/E
PER_DECADE = 60  # points that Geant4 gets per decade: it interpolates linearly between them
NOTICE = """\
Tables for Geant4, made by emulators.simulators.geant4_tables from two sources:

Photoelectric and Rayleigh cross sections: J. M. Boone and A. E. Chavez, Comparison of x-ray cross
sections for diagnostic and therapeutic medical physics, Med. Phys. 23 (1996) 1997,
https://doi.org/10.1118/1.597899. Copyright 1996 John M. Boone and Andres E. Chavez. Distributed
with mucoeff 1.0.0 (G. Pacheco, Radboudumc) under CC BY 4.0,
https://creativecommons.org/licenses/by/4.0/. Changed: cross sections per atom, points between
those of the source, L and M shells each taken as one, continued as 1/E above 100 MeV.

Bremsstrahlung spectra: S. M. Seltzer and M. J. Berger, National Bureau of Standards, 5 September
1984; Nucl. Instrum. Meth. B 12 (1985) 95. Distributed with OpenMC (MIT licence, copyright
2011-2026 Massachusetts Institute of Technology, UChicago Argonne LLC and OpenMC contributors).
Changed: the format.

None of Geant4's own data are in these files.
"""
EMPTY = "For those variables of Geant4 that must name some folder.\n"


def data_environment() -> tuple[dict[str, str], set[str]]:
    """Return where Geant4 is to find its data, and which of its own data sets are installed.

    Those that the user has (``G4LEDATA`` and so on, ``GEANT4_DATA_DIR``, or where geant4-pybind
    keeps its downloads) are taken; for the others there are the derived tables, or an empty folder.
    With these variables set geant4-pybind neither asks nor downloads when it is imported.
    """
    stated = {v: Path(os.environ[v]) for v in ("GEANT4_DATA_DIR", *DATA_SETS) if v in os.environ}
    # What an earlier call put into the environment is ours, not the user's.
    stated = {v: path for v, path in stated.items() if FOLDER not in (path, *path.parents)}
    folders = [Path.home() / ".geant4_pybind"]
    if "GEANT4_DATA_DIR" in stated:
        folders.insert(0, stated["GEANT4_DATA_DIR"])
    found = {}
    for variable, (name, _) in DATA_SETS.items():
        kept = [path for folder in folders for path in sorted(folder.glob(f"{name}[0-9]*"))]
        named = [stated[variable]] if variable in stated else []
        if existing := [path for path in (*named, *kept) if path.is_dir()]:
            found[variable] = str(existing[0])
    shipped = {
        "G4LEDATA": FOLDER / "G4EMLOW",
        "G4ENSDFSTATEDATA": FOLDER / "ENSDFSTATE",
    }
    environment = {v: str(shipped.get(v, FOLDER / "empty")) for v in DATA_SETS} | found
    environment["GEANT4_DATA_DIR"] = str(folders[0] if found else FOLDER)
    return environment, set(found)


def available(folder: Path = FOLDER) -> set[int]:
    """Return the atomic numbers of the elements that the tables in ``folder`` serve."""
    return {int(p.name[2:]) for p in (folder / "G4EMLOW" / "brem_SB").glob("br*")}


def make_tables(brem: Path, target: Path, elements: Iterable[int] = ELEMENTS) -> Path:
    """Write the folders that ``G4LEDATA`` and its like point to, and return ``target``.

    The same inputs give the same bytes.

    Parameters
    ----------
    brem
        ``BREMX.DAT``, the bremsstrahlung spectra of [1]_, or an OpenMC wheel or zip that has it.
    target
        Folder to make. It must not exist; it appears whole or not at all.
    elements
        Atomic numbers, 1 to 100.

    Raises
    ------
    InputError
        Where ``brem`` is not that table, mucoeff (photon cross sections [2]_) is not installed,
        an element is in neither source, or ``target`` exists.

    References
    ----------
    .. [1] Seltzer and Berger, Nucl. Instrum. Meth. B 12 (1985) 95; data of NBS, 5 Sep 1984
    .. [2] Boone and Chavez, Med. Phys. 23 (1996) 1997, doi:10.1118/1.597899
    """
    elements = sorted(set(elements))
    if wrong := [z for z in elements if not 1 <= z <= 100]:
        raise InputError(f"no tables for the atomic numbers {wrong}: the sources have 1 to 100")
    if target.exists():
        raise InputError(f"{target} exists: name a new folder, or remove it first")
    energy, fraction, spectra = _bremsstrahlung(brem)
    source = _photons()
    atoms = source.load_atom_data()
    # Without the latter two Geant4 refuses to start; photons and electrons never look inside.
    files = {"NOTICE": NOTICE, "ENSDFSTATE/ENSDFSTATE.dat": "", "empty/README": EMPTY}
    for z in elements:
        mass, edges = float(atoms["atomic_mass"][z]), atoms["edge"][z]
        tables = {f"brem_SB/br{z}": _spectrum_file(energy, fraction, spectra[z - 1])}
        tables |= _photon_files(z, source.get_table(z), mass, edges)
        files |= {f"G4EMLOW/{name}": text for name, text in tables.items()}
    partial = target.with_name(target.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, text in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(text.encode())
        partial.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _bremsstrahlung(source: Path) -> tuple[Array, Array, Array]:
    """Read kinetic energies T (57,) in MeV, k/T (30,), and spectra (100, 57, 30) in mb.

    The spectra are (beta / Z)^2 k dsigma/dk, k the energy of the photon, for Z = 1 to 100.
    """
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                inside = [n for n in archive.namelist() if Path(n).name == "BREMX.DAT"]
                if not inside:
                    raise InputError(f"{source}: no BREMX.DAT in it; an OpenMC wheel has one")
                text = archive.read(inside[0]).decode("latin-1")
        else:
            text = source.read_text("latin-1")
    except (OSError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{source}: cannot be read: {why}") from None
    try:
        lines = text.replace("\x1a", "").splitlines()  # the end-of-file mark of its time
        n, m = map(int, lines[4].split())
        values = np.array(" ".join(lines[5:]).split(), float)
        return values[:n], values[n : n + m], values[n + m :].reshape(100, n, m)
    except (IndexError, ValueError):
        raise InputError(
            f"{source}: not Seltzer and Berger's table of 1984, or cut short"
        ) from None


def _photons() -> Any:
    """Return mucoeff's reader of its tables."""
    try:
        return importlib.import_module("mucoeff.io.load")
    except ImportError as error:
        raise InputError(
            f"the photon tables are made from mucoeff, which does not import ({error}): "
            "install it with pip install mucoeff==1.0.0"
        ) from None


def _spectrum_file(energy: Array, fraction: Array, spectra: Array) -> str:
    """Write the spectra (57, 30) of an element as Geant4's two-dimensional table.

    A type number and the sizes, then the axes k/T and ln(T / MeV), then a row for each energy.
    """
    rows = [" ".join(f"{v:.6g}" for v in row) for row in spectra]
    axes = [" ".join(f"{v:.5f}" for v in fraction), " ".join(f"{v:.9g}" for v in np.log(energy))]
    return "\n".join([f"10 {len(fraction)} {len(energy)}", *axes, *rows]) + "\n"


def _photon_files(z: int, table: Array, mass: float, edges: Array) -> dict[str, str]:
    """Return the photoelectric and Rayleigh files of an element, by name.

    ``table`` has energy in keV and total, photoelectric and Rayleigh coefficients in cm2/g as its
    first columns; ``mass`` is in g/mol; ``edges`` are K, L1, L2, L3, M, N in keV.

    Geant4 takes the photoelectric cross section of an atom from ``pe-cs`` above the binding energy
    of the K shell and from ``pe-le-cs`` below, both as sigma E^3; from a polynomial in 1/E, one
    row of ``pe-high`` and ``pe-low`` a shell and cumulative over the shells, above the energy in
    their first line. ``pe-ss-cs`` has the share of each shell, from which the electron's binding
    energy is drawn. Photons below the last binding energy have the cross section at that energy.
    """
    energy = table[:, 0].astype(float) * 1e-3  # MeV
    for i in range(1, len(energy)):  # an edge is two points of one energy: set them a hair apart
        if energy[i] <= energy[i - 1] * (1 + 1e-9):
            energy[i] = energy[i - 1] * (1 + 1e-7)
    photoelectric, rayleigh = table[:, 2:4].T.astype(float) * (mass / AVOGADRO * 1e24)  # barn
    x, y = _densified(energy, rayleigh)
    files = {f"epics2017/rayl/re-cs-{z}.dat": _vector(x, y * x * x * 1e-22)}  # MeV2 mm2

    x, y = _densified(energy, photoelectric)
    logs = np.log(x), np.log(y)

    def sigma(at: Any) -> Array:
        result: Array = np.exp(np.interp(np.log(np.asarray(at, float)), *logs))
        return result

    binding, share = _shells(edges * 1e-3, x[0], sigma)
    folder, several = "epics2017/phot", len(binding) > 1
    last = min(HIGHEST, x[-1])
    rows = zip(binding, sigma(last) * last * np.cumsum(share))
    fit = f"{len(binding)} {len(binding)} {last:.6g}\n"
    fit += "".join(f"{b:.6g} {c:.6g} 0 0 0 0 0\n" for b, c in rows)
    files |= {f"{folder}/pe-{name}-{z}.dat": fit for name in ("high", "low")}
    if not several:  # the whole table, whatever lies in it
        return files | {f"{folder}/pe-cs-{z}.dat": _vector(x, sigma(x) * x**3)}

    def onward(start: Any) -> tuple[Array, Array]:
        """Return the energies from an edge on, and the cross section on the edge's upper side."""
        at = np.append(np.float64(start), x[x > start * 1.0001])
        return at, sigma(np.append(at[0] * 1.00011, at[1:]))

    at, s = onward(binding[0])
    files[f"{folder}/pe-cs-{z}.dat"] = _vector(at, s * at**3)
    below = x < binding[0] * 0.99999
    files[f"{folder}/pe-le-cs-{z}.dat"] = _vector(x[below], y[below] * x[below] ** 3)
    shells = ""
    for number, start in enumerate(binding):
        at, s = onward(start)
        opened = ((at[:, None] >= binding) * share).sum(1)  # of the shells that can be ionised
        part = s.astype(np.float32) * (share[number] / opened)
        shells += _vector(at, part * at**3, number)
    return files | {f"{folder}/pe-ss-cs-{z}.dat": shells}


def _shells(edges: Array, lowest: float, sigma: Any) -> tuple[Array, Array]:
    """Return the binding energies in MeV and the shares of K, L and M, as far as the table goes.

    L and M are one shell each, bound by L2 and by the M edge of the source. The share of a shell
    is the drop of sigma E^3 below its edges; what is left belongs to the last one.
    """
    binding = edges[[0, 2, 4]]
    binding = binding[binding > lowest * 1.001]
    if not len(binding):
        return np.array([max(edges[0], lowest * 0.1)]), np.ones(1)
    if len(binding) == 1:
        return binding, np.ones(1)
    under, over = edges[[0, 3, 4]] * 0.995, edges[[0, 1, 4]] * 1.005
    n = len(binding)
    ratio = (sigma(np.maximum(under, lowest)) / sigma(over))[:n].astype(np.float32)
    jump = np.maximum(0, 1 - ratio * (under / over)[:n] ** 3)
    rest, share = np.float32(1), []
    for drop in jump[:-1]:
        share.append(rest * drop)
        rest -= share[-1]
    return binding, np.array([*share, rest], np.float32)


def _densified(energy: Array, sigma: Array) -> tuple[Array, Array]:
    """Return energies and values with points between, on straight lines in log-log."""
    energy, sigma = energy[sigma > 0], sigma[sigma > 0]
    pieces = [energy[:1]]
    for low, high in itertools.pairwise(energy):
        steps = max(1, int(np.ceil(np.log10(high / low) * PER_DECADE)))
        pieces.append(low * (high / low) ** (np.arange(1, steps + 1) / steps))
    dense = np.concatenate(pieces)
    return dense, np.exp(np.interp(np.log(dense), np.log(energy), np.log(sigma)))


def _vector(x: Array, y: Array, shell: int | None = None) -> str:
    """Write a table as Geant4 retrieves it: ends and number of points, then the points.

    A vector of its own has the number of points once more; one of many shells has its number.
    """
    head = f"{x[0]:.8g} {x[-1]:.8g} {len(x)}" + (f"\n{len(x)}" if shell is None else f" {shell}")
    return head + "\n" + "".join(f"{a:.8g} {b:.8g}\n" for a, b in zip(x, y))


def main() -> None:
    """Make the tables: ``python -m emulators.simulators.geant4_tables BREM TARGET``."""
    parser = argparse.ArgumentParser(description="Make the small tables for Geant4.")
    parser.add_argument("brem", type=Path, help="BREMX.DAT, or an OpenMC wheel that has it")
    parser.add_argument("target", type=Path, help="the folder to make")
    arguments = parser.parse_args()
    try:
        make_tables(arguments.brem, arguments.target)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
