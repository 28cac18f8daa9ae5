import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from emulators import Dataset, InputError, generate_file, load
from emulators.data import hdf5

LAW = {"incident_energy": "2:90:log"}
ROWS = 512  # of a shard below


@pytest.fixture
def emulator(emulator_file):
    return load(emulator_file, device="cpu")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(hdf5, "SHARD_BYTES", ROWS * 504 * 4)


def arrays(path):
    with h5py.File(path) as file:
        return {key: file[key][:] for key in file}


def assert_same_data(a, b):
    a, b = arrays(a), arrays(b)
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def break_after(emulator, monkeypatch, pieces, error):
    """Let drawing fail after so many pieces."""
    draw, left = emulator.draw, [pieces]

    def broken(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise error
        return draw(*arguments)

    monkeypatch.setattr(emulator, "draw", broken)


def test_file_holds_what_generate_returns(emulator, tmp_path):
    path = generate_file(emulator, 1300, tmp_path / "out.h5", conditions=LAW, seed=4)
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]
    dataset, samples = Dataset(path), emulator.generate(1300, seed=4, **LAW)
    assert dataset.layout == emulator.spec.layout
    assert dataset.spec.geometry == emulator.spec.geometry
    assert len(dataset) == 1300
    read = dataset.read(0, 1300)
    np.testing.assert_array_equal(read.values, samples.values)
    for name, asked in samples.conditions.items():
        np.testing.assert_array_equal(read.conditions[name], asked)


def test_units_of_the_layout(emulator, tmp_path):
    path = generate_file(emulator, 10, tmp_path / "out.h5", conditions={"incident_energy": 50})
    with h5py.File(path) as file:
        assert (file["energy"][:] == 50).all()
        assert file["energy"].attrs["units"] == "GeV"
        assert file["layer_0"].attrs["units"] == "MeV"
        total = sum(file[f"layer_{i}"][:].sum((1, 2)) for i in range(3))
    np.testing.assert_allclose(total, emulator.generate(10, incident_energy=50).values.sum(1), 1e-5)


def test_file_describes_itself(emulator, tmp_path):
    path = generate_file(emulator, 600, tmp_path / "out.h5", conditions=LAW, seed=4)
    with h5py.File(path) as file:
        said = dict(file.attrs)
    assert said["generator"] == f"emulator tiny {emulator.sha256}"
    assert said["emulator_sha256"] == emulator.sha256
    assert said["seed"] == 4
    assert said["conditions"] == "incident_energy log-uniform 2-90 GeV"
    assert said["extrapolated"] == ""
    assert said["training_data_sha256"] == emulator.card["data_sha256"]
    assert json.loads(said["training_split"]) == emulator.card["split"]
    assert json.loads(said["trained_on"]) == {"licence": "CC0"}
    assert set(json.loads(said["versions"])) == {"emulators", "torch", "numpy", "h5py"}
    assert 0 < said["seconds_per_sample"] < 1
    condition = Dataset(path).spec.condition("incident_energy")
    assert (condition.minimum, condition.maximum, condition.scale) == (2, 90, "log")


def test_extrapolation_is_marked(emulator, tmp_path):
    request = {"incident_energy": "50:500:linear"}
    with pytest.raises(InputError, match="leaves the range"):
        generate_file(emulator, 10, tmp_path / "out.h5", conditions=request)
    assert not list(tmp_path.iterdir())
    path = generate_file(
        emulator, 10, tmp_path / "out.h5", conditions=request, allow_extrapolation=True
    )
    with h5py.File(path) as file:
        assert file.attrs["extrapolated"] == "incident_energy"


def test_conditions_of_a_file(emulator, shower_file, tmp_path):
    path = generate_file(emulator, None, tmp_path / "out.h5", conditions=shower_file)
    with h5py.File(path) as made, h5py.File(shower_file) as asked:
        np.testing.assert_allclose(made["energy"][:], asked["energy"][:], rtol=1e-6)


def test_existing_files_are_kept(emulator, tmp_path):
    path = tmp_path / "out.h5"
    path.write_text("precious")
    with pytest.raises(InputError, match="overwrit"):
        generate_file(emulator, 10, path, conditions=LAW)
    assert path.read_text() == "precious"
    generate_file(emulator, 10, path, conditions=LAW, overwrite=True)
    assert len(Dataset(path)) == 10


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")])
def test_interrupted_and_resumed(emulator, tmp_path, monkeypatch, error):
    whole = generate_file(emulator, 5000, tmp_path / "whole.h5", conditions=LAW, seed=1)
    path = tmp_path / "out.h5"
    with monkeypatch.context() as patch:
        break_after(emulator, patch, 1, error)
        with pytest.raises(type(error)):
            generate_file(emulator, 5000, path, conditions=LAW, seed=1)
    assert not path.exists()
    assert (tmp_path / "out.h5.part").is_dir()
    drawn = []
    draw = emulator.draw
    monkeypatch.setattr(emulator, "draw", lambda *a: drawn.append(a[2]) or draw(*a))
    generate_file(emulator, 5000, path, conditions=LAW, seed=1)
    assert drawn[0] > 0  # what was done is not done again
    assert_same_data(path, whole)
    assert not (tmp_path / "out.h5.part").exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 2}, "seed"),
        ({"conditions": {"incident_energy": 50}}, "conditions"),
        ({"n": 4999}, r"\bn\b"),
    ],
)
def test_another_request_does_not_resume(emulator, tmp_path, monkeypatch, changed, says):
    request = {"n": 5000, "conditions": LAW, "seed": 1}
    with monkeypatch.context() as patch:
        break_after(emulator, patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            generate_file(emulator, path=tmp_path / "out.h5", **request)
    with pytest.raises(InputError, match=rf"begun by a job that differs in .*{says}"):
        generate_file(emulator, path=tmp_path / "out.h5", **(request | changed))
    path = generate_file(emulator, path=tmp_path / "out.h5", resume=False, **(request | changed))
    assert len(Dataset(path)) == (request | changed)["n"]


def test_other_arrays_do_not_resume(emulator, tmp_path, monkeypatch):
    energies = np.linspace(2, 90, 3000)
    request, other = ({"incident_energy": e} for e in (energies, energies[::-1]))  # of one range
    with monkeypatch.context() as patch:
        break_after(emulator, patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            generate_file(emulator, 3000, tmp_path / "out.h5", conditions=request)
    with pytest.raises(InputError, match="conditions_sha256"):
        generate_file(emulator, 3000, tmp_path / "out.h5", conditions=other)


@pytest.mark.long
def test_killed_and_resumed(emulator, emulator_file, tmp_path):
    path, n = tmp_path / "out.h5", 8_000
    code = (
        f"import emulators.data.hdf5 as h; h.SHARD_BYTES = {hdf5.SHARD_BYTES}; "
        "from emulators.cli import main; main()"
    )
    words = ["generate", emulator_file, "-n", n, "--energy", "2:90:log", "-o", path]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("out.h5.part/*.h5"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not path.exists()
    done = len(list(tmp_path.glob("out.h5.part/*.h5")))
    assert 3 <= done < n // ROWS
    generate_file(emulator, n, path, conditions=LAW)
    whole = generate_file(emulator, n, tmp_path / "whole.h5", conditions=LAW)
    assert_same_data(path, whole)


def test_memory_is_constant(emulator, tmp_path):
    peaks = []
    for n in (5_000, 12_000):
        tracemalloc.start()
        generate_file(emulator, n, tmp_path / f"{n}.h5", conditions=LAW)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_full_disk(emulator_file, tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from emulators.cli import main; main()"
    )
    words = ["generate", emulator_file, "-n", "9000", "-o", tmp_path / "out.h5"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "the disk is full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.h5").exists()
