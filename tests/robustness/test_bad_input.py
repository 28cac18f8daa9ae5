"""Bad files, recipes and requests: each gets exit code 2, one line, and leaves nothing behind."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emulators.cli import cli
from emulators.config import dump_toml


@dataclass
class Desk:
    """What a case has at hand: an empty folder, good files to spoil, a writer of more."""

    folder: Path
    showers: Path
    emulator: Path
    write: Callable[..., Path]

    def spoiled(self, **replaced) -> Path:
        return self.write(self.folder / "bad.h5", **replaced)

    def columns(self, *keys: str) -> list[np.ndarray]:
        with h5py.File(self.showers) as file:
            return [file[key][:] for key in keys]

    def edited(self, key: str, edit: Callable[[np.ndarray], None]) -> Path:
        (values,) = self.columns(key)
        edit(values)
        return self.spoiled(**{key: values})

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def recipe(self, **tables: dict) -> Path:
        plan = {
            "data": {"path": str(self.showers), "validation": 0.1, "test": 0.1},
            "network": {"name": "mlp", "latent": 4, "widths": [8], "critic_widths": [8]},
            "training": {"samples": 64, "batch_size": 16, "device": "cpu"},
        }
        for name, values in tables.items():
            plan[name] = plan.get(name, {}) | values
        return self.file("recipe.toml", dump_toml(plan))

    def spoiled_emulator(self, **changes) -> Path:
        path = self.folder / "bad.pt"
        torch.save(torch.load(self.emulator, weights_only=True) | changes, path)
        return path

    def linked(self) -> Path:
        path = self.spoiled(layer_1=None)
        with h5py.File(path, "r+") as file:
            file["layer_1"] = h5py.ExternalLink(str(self.showers), "layer_1")
        return path

    def lying(self) -> Path:
        """Claim a hundred million showers, store none."""
        path = self.spoiled(layer_0=None)
        with h5py.File(path, "r+") as file:
            file.create_dataset("layer_0", (100_000_000, 3, 96), "f4", chunks=(1, 3, 96))
        return path


def put(value: float, row: int = 3) -> Callable[[np.ndarray], None]:
    def edit(values: np.ndarray) -> None:
        values[row].flat[0] = value

    return edit


def train(desk: Desk, **tables: dict) -> list:
    return ["train", desk.recipe(**tables), "--run", desk.folder / "run"]


def setting(desk: Desk, text: str) -> list:
    return [*train(desk), "--set", text]


def generate(desk: Desk, *words: object, n: object = 10, emulator: object = None) -> list:
    return ["generate", emulator or desk.emulator, "-n", n, "-o", desk.folder / "out.h5", *words]


def energy(desk: Desk, text: str) -> list:
    return generate(desk, f"--energy={text}")


def benchmark(desk: Desk, generated: Path, reference: Path | None = None) -> list:
    return ["benchmark", generated, reference or desk.showers, "-o", desk.folder / "report"]


def info(path: Path) -> list:
    return ["data", "info", path]


def check(path: Path) -> list:
    return ["data", "check", path]


def long(key: str) -> Callable[[Desk], Path]:
    def make(desk: Desk) -> Path:
        (values,) = desk.columns(key)
        return desk.spoiled(**{key: np.concatenate([values, values[:5]])})

    return make


# name: (how to make the command, what its one line must contain)
CASES: dict[str, tuple[Callable[[Desk], list], str]] = {
    # files
    "absent file": (lambda d: info(d.folder / "no.h5"), "no.h5: no such file"),
    "folder for a file": (lambda d: info(d.folder), "not a file"),
    "text file": (lambda d: info(d.file("a.h5", "energy 50")), "not an HDF5 file"),
    "empty file": (lambda d: info(d.file("a.h5", "")), "the file is empty (0 bytes)"),
    "truncated file": (
        lambda d: info(d.file("a.h5", d.showers.read_bytes()[:50_000])),
        "the file is truncated at 50000 bytes",
    ),
    "no known keys": (
        lambda d: info(d.spoiled(energy=None, layer_0=None)),
        "no known layout",
    ),
    "missing layer": (lambda d: info(d.spoiled(layer_1=None)), "layer_1"),
    "missing energies": (lambda d: info(d.spoiled(energy=None)), "no known layout"),
    "wrong shape": (
        lambda d: info(d.spoiled(layer_2=np.ones((64, 12, 12)))),
        "layer_2",
    ),
    "other number of rows": (lambda d: info(long("layer_0")(d)), "differ in length"),
    "more energies than showers": (lambda d: info(long("energy")(d)), "differ in length"),
    "no rows": (lambda d: info(d.write(d.folder / "bad.h5", n=0)), "bad.h5"),
    "text for energies": (
        lambda d: info(d.spoiled(energy=np.full((64, 1), b"high"))),
        "energy",
    ),
    "external link": (lambda d: info(d.linked()), "link to another file"),
    "claimed size": (lambda d: info(d.lying()), "never written in full"),
    "unknown layout": (
        lambda d: ["data", "info", d.showers, "--layout", "calogam"],
        "did you mean 'calogan'?",
    ),
    "other layout": (
        lambda d: ["data", "info", d.showers, "--layout", "calochallenge"],
        "not of layout 'calochallenge'",
    ),
    "binning is no XML": (
        lambda d: ["data", "info", d.showers, "--binning", d.file("b.xml", "bins"), "pion"],
        "not a readable XML file",
    ),
    "energies all zero": (lambda d: info(d.spoiled(energy=np.zeros((64, 1)))), "positive"),
    # checks
    "NaN deposit": (
        lambda d: check(d.edited("layer_1", put(np.nan))),
        "layer_1: NaN or infinite in 1 row (3)",
    ),
    "infinite deposit": (
        lambda d: check(d.edited("layer_0", put(np.inf))),
        "layer_0: NaN or infinite in 1 row",
    ),
    "negative deposit": (
        lambda d: check(d.edited("layer_2", put(-1))),
        "layer_2: negative deposits in 1 row",
    ),
    "NaN energy": (lambda d: check(d.edited("energy", put(np.nan))), "energy: NaN"),
    "negative energy": (lambda d: check(d.edited("energy", put(-5))), "energy: zero or negative"),
    "TeV for GeV": (
        lambda d: check(d.edited("energy", lambda e: np.multiply(e, 1e-3, out=e))),
        "units are suspicious",
    ),
    "more than was sent in": (
        lambda d: check(d.edited("layer_1", put(1e7))),
        "1.1 times the incident energy",
    ),
    # convert and split
    "convert NaN": (
        lambda d: [
            "data",
            "convert",
            d.edited("layer_1", put(np.nan)),
            d.folder / "out.h5",
        ],
        "1 rows with NaN",
    ),
    "convert onto a file": (
        lambda d: ["data", "convert", d.showers, d.file("there.h5", "x")],
        "exists",
    ),
    "convert rows": (
        lambda d: ["data", "convert", d.showers, d.folder / "out.h5", "--rows", "0:100"],
        "has 64 rows",
    ),
    "convert to an unknown layout": (
        lambda d: ["data", "convert", d.showers, d.folder / "out.h5", "--layout", "calo"],
        "unknown layout 'calo'",
    ),
    "split everything away": (
        lambda d: [
            "data",
            "split",
            d.showers,
            "-o",
            d.folder,
            "--validation",
            "0.5",
            "--test",
            "0.5",
        ],
        "leave rows to train on",
    ),
    # recipes
    "absent recipe": (lambda d: ["train", d.folder / "no.toml"], "no such recipe"),
    "no TOML": (lambda d: ["train", d.file("a.toml", "[data\npath=")], "not a readable TOML"),
    "neither recipe nor run": (lambda d: ["train"], "give a RECIPE"),
    "unknown table": (lambda d: train(d, trainig={"seed": 1}), "did you mean 'training'?"),
    "unknown key": (
        lambda d: train(d, training={"batchsize": 8}),
        "unknown key 'training.batchsize' (did you mean 'batch_size'?)",
    ),
    "wrong type": (
        lambda d: train(d, training={"batch_size": "many"}),
        "'training.batch_size' = 'many' is not of type int",
    ),
    "unknown network": (lambda d: train(d, network={"name": "mpl"}), "did you mean 'mlp'?"),
    "unknown network option": (lambda d: train(d, network={"width": 3}), "network.width"),
    "network without a name": (lambda d: train(d, network={"name": 3}), "needs a name"),
    "unknown objective": (
        lambda d: train(d, game={"objective": "wassertsein"}),
        "did you mean 'wasserstein'?",
    ),
    "unknown precision": (lambda d: setting(d, "training.precision=float16"), "bfloat16"),
    "negative rate": (
        lambda d: setting(d, "optimiser.learning_rate_critic=-1e-4"),
        "learning_rate_critic must be positive",
    ),
    "NaN rate": (
        lambda d: setting(d, "optimiser.learning_rate_critic=nan"),
        "learning_rate_critic must be positive",
    ),
    "nothing left to train on": (
        lambda d: setting(d, "data.test=0.95"),
        "leaves nothing to train on",
    ),
    "absent data": (lambda d: train(d, data={"path": "no.h5"}), "no.h5: no such file"),
    "no data": (lambda d: ["train", d.file("a.toml", '[network]\nname="mlp"')], "key 'data'"),
    "batch larger than the data": (lambda d: setting(d, "training.batch_size=1000"), "1000"),
    "unknown step": (
        lambda d: train(d, transform={"steps": [{"name": "lgo"}]}),
        "unknown transform step 'lgo'",
    ),
    "unknown device": (lambda d: setting(d, "training.device=gpu"), "device"),
    "setting without a value": (lambda d: setting(d, "training.samples"), "expected key=value"),
    "data with NaN": (
        lambda d: train(d, data={"path": str(d.edited("layer_1", put(np.nan)))}),
        "bad.h5",
    ),
    "run that is there": (
        lambda d: ["train", d.recipe(), "--run", d.folder],  # it holds a recipe.toml
        "there is a run in this folder",
    ),
    "resume of nothing": (
        lambda d: ["train", "--resume", d.folder],
        "there is no run in this folder",
    ),
    "resume with a recipe": (
        lambda d: ["train", d.recipe(), "--resume", d.folder],
        "--resume takes no RECIPE",
    ),
    # requests
    "energy above the range": (lambda d: energy(d, "200"), "incident_energy 200 GeV leaves"),
    "law beyond the range": (lambda d: energy(d, "1:1000:log"), "--allow-extrapolation"),
    "negative energy asked": (lambda d: energy(d, "-5"), "-5 GeV is not positive"),
    "NaN energy asked": (lambda d: energy(d, "nan"), "is not positive and finite"),
    "zero energy asked": (lambda d: energy(d, "0"), "is not positive"),
    "energy in words": (lambda d: energy(d, "high"), "'high' is not a number"),
    "unknown law": (lambda d: energy(d, "2:50:lgo"), "did you mean 'log'?"),
    "law downwards": (lambda d: energy(d, "50:2:log"), "goes down"),
    "half a law": (lambda d: energy(d, "50:"), "is not understood"),
    "wrong unit": (lambda d: energy(d, "50 mm"), "'mm' is not a unit of it"),
    "no samples": (lambda d: generate(d, n=0), "'0' is not a whole number"),
    "half a sample": (lambda d: generate(d, n=1.5), "'1.5' is not a whole number"),
    "no number of samples": (
        lambda d: ["generate", d.emulator, "-o", d.folder / "out.h5"],
        "say how many samples",
    ),
    "two conditions": (
        lambda d: generate(d, "--energy", "5", "--conditions", d.showers),
        "not both",
    ),
    "conditions file too short": (
        lambda d: generate(d, "--conditions", d.showers, n=100),
        "has 64 samples, conditions of 100 are wanted",
    ),
    "conditions file without them": (
        lambda d: generate(d, "--conditions", d.spoiled(energy=None)),
        "no known layout",
    ),
    "conditions file with NaN": (
        lambda d: generate(d, "--conditions", d.edited("energy", put(np.nan)), n=64),
        "1 such values",
    ),
    "existing output": (
        lambda d: ["generate", d.emulator, "-n", "10", "-o", d.file("there.h5", "x")],
        "there.h5: exists",
    ),
    "folder for output": (
        lambda d: ["generate", d.emulator, "-n", "10", "-o", d.folder],
        "this is a folder",
    ),
    "no folder for output": (
        lambda d: ["generate", d.emulator, "-n", "10", "-o", d.folder / "no" / "out.h5"],
        "there is no folder",
    ),
    "file for a folder": (
        lambda d: ["generate", d.emulator, "-n", 10, "-o", d.file("a", "") / "out.h5"],
        "there is no folder",
    ),
    "unknown emulator": (
        lambda d: generate(d, emulator="photonshowers"),
        "'photonshowers' is neither a file, a run nor a pretrained emulator",
    ),
    "absent emulator": (lambda d: generate(d, emulator=d.folder / "no.pt"), "no such emulator"),
    "folder without emulator": (
        lambda d: generate(d, emulator=d.folder),
        "holds no emulator.pt",
    ),
    "half an emulator": (
        lambda d: generate(d, emulator=d.file("h.pt", d.emulator.read_bytes()[:9000])),
        "h.pt: not an emulator file, or cut short (9000 bytes)",
    ),
    "showers for an emulator": (
        lambda d: generate(d, emulator=d.showers),
        "not an emulator file",
    ),
    "emulator of the future": (
        lambda d: generate(d, emulator=d.spoiled_emulator(format_version=2)),
        "update with",
    ),
    "emulator of an unknown network": (
        lambda d: generate(d, emulator=d.spoiled_emulator(architecture="diffusion")),
        "unknown network 'diffusion'",
    ),
    "no such device": (lambda d: generate(d, "--device", "gpu"), "unknown device 'gpu'"),
    "unknown verb": (lambda d: ["genrate"], "No such command 'genrate'"),
    "unknown option": (lambda d: generate(d, "--sed", "3"), "--sed"),
    # benchmarks
    "absent showers": (lambda d: benchmark(d, d.folder / "no.h5"), "no.h5: no such file"),
    "too few showers": (
        lambda d: benchmark(d, d.write(d.folder / "few.h5", n=20)),
        "few.h5: 20 generated showers to compare; a benchmark needs at least",
    ),
    "other geometry": (
        lambda d: benchmark(d, ds2(d.folder / "ds2.h5")),
        "differ in geometry",
    ),
    "NaN showers": (
        lambda d: benchmark(
            d,
            d.write(d.folder / "b.h5", n=1000, layer_2=np.full((1000, 12, 6), np.nan)),
            d.write(d.folder / "a.h5", n=1000),
        ),
        "hold NaN",
    ),
    "report onto a file": (
        lambda d: ["benchmark", d.showers, d.showers, "-o", d.file("report", "")],
        "the report needs a folder",
    ),
    "report among other files": (
        lambda d: [
            "benchmark",
            d.showers,
            d.showers,
            "-o",
            Path(d.file("thesis.tex", "")).parent,
        ],
        "give an empty folder",
    ),
    "unknown preset": (
        lambda d: [*benchmark(d, d.showers), "--preset", "calochalenge"],
        "did you mean 'calochallenge'?",
    ),
}


def ds2(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.full((300, 1), 5e4)
        file["showers"] = np.ones((300, 6480), np.float32)
    return path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


@pytest.fixture
def desk(tmp_path, shower_file, emulator_file, write_showers, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, shower_file, emulator_file, write_showers)


def test_there_are_at_least_thirty():
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_bad_input(desk, name):
    make, says = CASES[name]
    words = [str(word) for word in make(desk)]
    before = contents(desk.folder)
    done = CliRunner().invoke(cli, words)
    errors = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.exit_code == 2, done.output
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    assert says in errors[0]
    assert contents(desk.folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(desk):
    desk.folder.chmod(0o500)
    done = CliRunner().invoke(cli, [str(word) for word in generate(desk)])
    desk.folder.chmod(0o700)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert not list(desk.folder.iterdir())


@pytest.mark.parametrize("folder", ["/proc/self", "/sys"])
def test_folder_where_nobody_may_write(desk, folder):
    if not Path(folder).is_dir():
        pytest.skip(f"no {folder} here")
    words = ["generate", str(desk.emulator), "-n", "10", "-o", f"{folder}/out.h5"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr
