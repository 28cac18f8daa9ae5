import runpy
import signal
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import emulators.commands
from emulators import Dataset, __version__, pretrained
from emulators.cli import cli

DOCS = Path(__file__).parents[2] / "docs"


def run(*words: object):
    return CliRunner().invoke(cli, [str(word) for word in words])


def verbs(command=cli, path=()):
    for name, below in command.commands.items():
        yield (*path, name)
        if isinstance(below, click.Group):
            yield from verbs(below, (*path, name))


def test_version():
    assert run("--version").output == f"emulators, version {__version__}\n"


@pytest.mark.parametrize("verb", list(verbs()), ids=" ".join)
def test_help_teaches(verb):
    shown = run(*verb, "--help")
    assert shown.exit_code == 0
    if verb != ("data",):
        examples = shown.output.split("Examples:\n")[1].split("\n\n")[0].splitlines()
        assert len(examples) >= 2
        assert all(" ".join(verb) in line for line in examples)
    if verb[-1] not in ("data", "list"):
        assert "GeV" in shown.output or "MeV" in shown.output


def test_page_is_current():
    page = runpy.run_path(str(DOCS / "make_cli.py"))["page"]()
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == page, "run: python docs/make_cli.py"


def test_data_verbs(shower_file, tmp_path):
    shown = run("data", "info", shower_file)
    assert shown.exit_code == 0
    assert "64 showers" in shown.output
    assert "GeV" in shown.output
    checked = run("data", "check", shower_file)
    assert (checked.exit_code, checked.output) == (0, f"{shower_file}: no errors, 0 warnings\n")
    converted = tmp_path / "mev.h5"
    done = run("data", "convert", shower_file, converted, "--layout", "calochallenge")
    said = f"{converted}: not taken over from {shower_file}: overflow\n{converted}\n"
    assert (done.exit_code, done.output) == (0, said)
    with h5py.File(converted) as file, h5py.File(shower_file) as source:
        np.testing.assert_allclose(
            file["incident_energies"][:], 1000 * source["energy"][:], rtol=1e-6
        )
    done = run("data", "split", shower_file, "-o", tmp_path, "--validation", 0.125, "--test", 0.25)
    assert [len(Dataset(path)) for path in done.output.split()] == [40, 8, 16]


@pytest.mark.parametrize(("text", "n"), [("1e3", 1000), ("1_000", 1000), ("12", 12)])
def test_generate(emulator_file, tmp_path, text, n):
    out = tmp_path / "out.h5"
    done = run("generate", emulator_file, "-n", text, "-o", out, "--energy", "50", "--seed", 3)
    assert done.exit_code == 0, done.output
    assert str(out) in done.output
    assert len(Dataset(out)) == n


def test_generate_at_the_conditions_of_a_file(emulator_file, shower_file, tmp_path):
    out = tmp_path / "out.h5"
    done = run("generate", emulator_file, "-o", out, "--conditions", shower_file)
    assert done.exit_code == 0, done.output
    assert len(Dataset(out)) == 64


def test_list(emulator_file, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    assert "no pretrained" in run("list").output
    (tmp_path / "photon-showers.pt").write_bytes(emulator_file.read_bytes())
    (tmp_path / "photon-showers.md").write_text("# Card\n\nPhotons, 1 to 100 GeV.\n")
    lines = run("list").output.splitlines()
    assert lines[1].split(maxsplit=1) == ["photon-showers", "Photons, 1 to 100 GeV."]
    assert any(line.split()[0] == "calogan-photons" for line in lines[2:])


def recipe(path, data):
    text = f'[data]\npath = "{data}"\nvalidation = 0.1\ntest = 0.1\n'
    text += '[network]\nname = "mlp"\nlatent = 4\nwidths = [8]\ncritic_widths = [8]\n'
    text += '[training]\nsamples = 64\nbatch_size = 16\nprecision = "float32"\ndevice = "cpu"\n'
    path.write_text(text)
    return path


def test_train_generate(shower_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = recipe(tmp_path / "tiny.toml", shower_file)
    dry = run("train", plan, "--dry-run", "--set", "network.latent=5")
    assert dry.exit_code == 0, dry.output
    assert "5 latents" in dry.output
    assert not (tmp_path / "runs").exists()
    for number in (1, 2):
        done = run("train", plan)
        assert done.exit_code == 0, done.output
        assert (tmp_path / "runs" / f"tiny-{number}" / "emulator.pt").is_file()
    again = run("train", "--resume", "runs/tiny-1", "--set", "training.samples=128")
    assert again.exit_code == 0, again.output
    done = run("generate", "runs/tiny-1", "-n", 20, "-o", "out.h5")
    assert done.exit_code == 0, done.output
    assert len(Dataset("out.h5")) == 20


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("diverged at step 7"), 1, "error: diverged at step 7\n"),
        (MemoryError(), 1, "error: MemoryError\n"),
        (KeyError("x"), 1, "error: KeyError: 'x'; a bug: please report what --debug prints\n"),
    ],
)
def test_exit_codes(monkeypatch, error, code, says):
    def fail():
        raise error

    monkeypatch.setattr(pretrained, "available", fail)
    done = run("list")
    assert done.exit_code == code
    assert done.stderr.strip("\n") == says.strip("\n")


def test_debug_shows_the_traceback(monkeypatch):
    done = run("--debug", "data", "info", "absent.h5")
    assert isinstance(done.exception, emulators.InputError)
    assert run("data", "info", "absent.h5").exception.args == (2,)


def test_only_the_first_process_prints(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with CliRunner().isolation() as (out, *_):
        emulators.commands.print_once("done")
        assert out.getvalue() == b""


def test_several_processes_need_one_folder(shower_file, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run("train", recipe(tmp_path / "x.toml", shower_file))
    assert done.exit_code == 2
    assert "give --run" in done.stderr


def test_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    run("list")
    assert signal.getsignal(signal.SIGINT) is before


NAMES = ("n", "seed", "Omega_m", "omega_m", "incident_energy", "a-b", "a_b")


@pytest.mark.parametrize(
    ("rest", "named", "asked"),
    [
        (["--Omega-m", "0.3", "--omega_m=0.1"], [], {"Omega_m": "0.3", "omega_m": "0.1"}),
        (["--energy", "5:50 MeV"], [], {"incident_energy": "5:50 MeV"}),
        ([], ["n=0.5:6", "seed=3", "a_b=1=2"], {"n": "0.5:6", "seed": "3", "a_b": "1=2"}),
        (["--a_b", "1"], ["a-b=2"], {"a_b": "1", "a-b": "2"}),
    ],
)
def test_conditions_are_asked_by_their_names(rest, named, asked):
    assert emulators.commands.conditions_of(rest, named, NAMES) == asked


@pytest.mark.parametrize(
    ("rest", "named", "message"),
    [
        (["--omega-m", "1"], ["omega_m=2"], "'omega_m' is given twice"),
        (["--a-b", "1"], [], "several conditions: give --condition a-b=LAW or --condition a_b"),
        ([], ["OMEGA_M=1"], "--condition 'OMEGA_M=1' names no condition: n=LAW, seed=LAW"),
        ([], ["n"], "--condition 'n' names no condition"),
        (["--energy", "1"], [], "give --condition incident_energy=LAW or --condition energy=LAW"),
    ],
)
def test_conditions_that_cannot_be_told_apart(rest, named, message):
    names = (*NAMES, "energy") if "--energy" in rest else NAMES
    with pytest.raises(click.UsageError, match=message):
        emulators.commands.conditions_of(rest, named, names)
