import pickle
import zipfile

import numpy as np
import pytest
import torch
from astropy import units

import emulators
from emulators import InputError, load, pretrained, random
from emulators.data.spec import Samples


@pytest.fixture
def emulator(emulator_file):
    return load(emulator_file, device="cpu")


def same(a: Samples, b: Samples) -> bool:
    names = a.conditions.keys() == b.conditions.keys()
    return (
        names
        and np.array_equal(a.values, b.values)
        and all(np.array_equal(a.conditions[k], b.conditions[k]) for k in a.conditions)
    )


def test_samples_are_physical(emulator):
    samples = emulator.generate(300, incident_energy=50)
    assert samples.values.shape == (300, 504)
    assert samples.values.dtype == np.float32
    assert samples.values.min() >= 0
    assert samples.values.max() > 0
    np.testing.assert_array_equal(samples.conditions["incident_energy"], np.full(300, 50.0))


def test_output_is_in_mev_and_follows_the_condition(emulator):
    # The untrained mlp gives shares of the incident energy; in MeV they are 1000 times E in GeV.
    z = torch.from_numpy(random.normals(0, "latent", 0, 256, emulator.generator.latent))
    c = torch.zeros(256, 1)  # the middle of log(1) to log(100) is 10 GeV
    with torch.no_grad():
        shares = emulator.generator(z, emulator.transform.scale(torch.full((256, 1), 10.0)))
        np.testing.assert_allclose(
            emulator.generator(z, c).numpy(), shares.numpy(), rtol=1e-2, atol=1e-4
        )
    samples = emulator.generate(256, incident_energy=10)
    np.testing.assert_allclose(samples.values, 1e4 * shares.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    "energy", [50 * units.GeV, 50_000 * units.MeV, "50", "50 GeV", np.full(300, 50.0), 50]
)
def test_ways_to_ask_for_one_energy(emulator, energy):
    asked = emulator.generate(300, incident_energy=energy)
    assert same(asked, emulator.generate(300, incident_energy=50.0))


def test_conditions_are_asked_by_name_or_by_keyword(emulator):
    asked = emulator.generate(20, conditions={"incident_energy": 50})
    assert same(asked, emulator.generate(20, incident_energy=50))
    with pytest.raises(InputError, match="incident_energy: asked twice"):
        emulator.generate(20, conditions={"incident_energy": 50}, incident_energy=50)
    with pytest.raises(InputError, match="unknown condition 'energi'"):
        emulator.generate(20, conditions={"energi": 50})


def test_energy_law_fills_its_range_evenly_in_log(emulator):
    energy = emulator.generate(4000, incident_energy="2:50:log").conditions["incident_energy"]
    position = np.sort(np.log(energy / 2) / np.log(25))
    # Kolmogorov-Smirnov distance to the uniform law; 1.95 / sqrt(n) is exceeded once in 1000.
    assert np.abs(position - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / np.sqrt(4000)


def test_without_energies_the_trained_range_is_drawn(emulator):
    known = emulator.spec.condition("incident_energy")
    energy = emulator.generate(2000).conditions["incident_energy"]
    assert known.minimum <= energy.min() < 1.1 * known.minimum
    assert 0.9 * known.maximum < energy.max() <= known.maximum


def test_whole_blocks_do_not_depend_on_the_request(emulator):
    all_at_once = emulator.generate(1024, seed=3, incident_energy="2:90:log")
    for start, n in ((0, 256), (256, 768), (512, 300), (100, 900)):
        part = emulator.generate(n, seed=3, start=start, incident_energy="2:90:log")
        whole = slice(-(-start // 256) * 256, (start + n) // 256 * 256)
        a = part[whole.start - start : whole.stop - start]
        assert len(a) > 0
        assert same(a, all_at_once[whole])
        np.testing.assert_allclose(part.values, all_at_once.values[start : start + n], rtol=1e-4)


def test_seeds_differ(emulator):
    a, b = (emulator.generate(256, seed=s, incident_energy=50).values for s in (0, 1))
    assert (a != b).any(1).all()


def test_an_array_holds_the_energies_of_the_samples_asked(emulator):
    energies = np.linspace(10, 60, 256)
    samples = emulator.generate(256, start=512, incident_energy=energies)
    np.testing.assert_allclose(samples.conditions["incident_energy"], energies, rtol=1e-6)
    at_50 = emulator.generate(256, start=512, incident_energy=50).values
    alike = np.isclose(samples.values, at_50, rtol=0.2).mean(1)
    assert alike[np.abs(energies - 50).argmin()] > 0.95  # the same noise at nearly 50 GeV


def test_extrapolation_is_refused_unless_allowed(emulator):
    with pytest.raises(InputError, match=r"200 GeV leaves the range .* 1\.0\d to 9\d\.?\d* GeV"):
        emulator.generate(10, incident_energy=200)
    samples = emulator.generate(10, incident_energy=200, allow_extrapolation=True)
    assert (samples.conditions["incident_energy"] == 200).all()


def test_nan_is_never_returned(emulator):
    with torch.no_grad():
        emulator.generator.layers[-1].bias[7] = torch.nan
    with pytest.raises(RuntimeError, match=r"10 of 10 samples, the first is sample 5 of seed 2"):
        emulator.generate(10, seed=2, start=5, incident_energy=50)


def test_negative_deposits_are_cut(emulator):
    emulator.generator.output = lambda x: x
    assert emulator.generate(256, incident_energy=50).values.min() == 0


def test_generation_leaves_the_training_mode_alone(emulator):
    emulator.generator.train()
    emulator.generate(3, incident_energy=50)
    assert emulator.generator.training


def test_save_and_load(emulator, tmp_path):
    path = tmp_path / "run-7" / "emulator.pt"
    path.parent.mkdir()
    emulator.save(path)
    again = load(path.parent)
    assert again.name == emulator.name == "run-7"
    assert again.sha256 == emulator.sha256
    assert again.spec == emulator.spec
    assert again.card == emulator.card
    assert same(
        again.generate(300, seed=5, incident_energy=20),
        emulator.generate(300, seed=5, incident_energy=20),
    )
    emulator.save(tmp_path / "copy.pt")
    assert (tmp_path / "copy.pt").read_bytes() == path.read_bytes()
    assert load(tmp_path / "copy.pt").sha256 == again.sha256
    assert not list(tmp_path.rglob("*.tmp"))


def test_hash_follows_the_weights(emulator):
    fresh = emulators.Emulator(
        emulator.generator, emulator.transform, emulator.spec, "mlp", emulator.options
    )
    before = fresh.sha256
    with torch.no_grad():
        emulator.generator.layers[-1].bias[0] += 1
    assert fresh.sha256 != before


def test_repr_and_description(emulator):
    assert repr(emulator).startswith("<Emulator tiny: mlp, shower of 504 in MeV, incident_energy 1")
    text = emulator.describe()
    assert "GeV (log)" in text
    assert "made up for tests" in text
    assert emulator.sha256 in text


class Malicious:
    def __reduce__(self):
        return (print, ("code ran",))


def damaged(content: dict, how: str) -> dict:
    """Return the content of an emulator file with one thing wrong."""
    state = content["state"]
    key = "generator.layers.0.weight"
    wrong = {
        "missing key": {k: v for k, v in content.items() if k != "spec"},
        "other dict": {"model": state},
        "list": [1, 2],
        "newer": content | {"format_version": 2},
        "no version": content | {"format_version": "one"},
        "unknown network": content | {"architecture": "mpl"},
        "unknown option": content | {"options": content["options"] | {"layers": 3}},
        "options are text": content | {"options": "wide"},
        "wrong shape": content | {"state": state | {key: torch.zeros(3, 3)}},
        "weights missing": content | {"state": {k: v for k, v in state.items() if k != key}},
        "weights are text": content | {"state": state | {key: "zeros"}},
        "no state": content | {"state": 3},
        "NaN": content | {"state": state | {key: state[key] * torch.nan}},
        "spec": content | {"spec": content["spec"] | {"kind": "jet"}},
        "geometry": content | {"spec": content["spec"] | {"geometry": {"name": "x"}}},
        "transform": content | {"transform": {"steps": [{"name": "lgo"}], "condition": "range"}},
        "transform is text": content | {"transform": {"stairs": []}},
        "code": content | {"card": Malicious()},
    }
    return wrong[how]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing key", "without 'spec'"),
        ("other dict", "not an emulator"),
        ("list", "not an emulator"),
        ("newer", "written in format 2, this version reads 1"),
        ("no version", "format 'one'"),
        ("unknown network", r"unknown network 'mpl' \(did you mean 'mlp'\?\)"),
        ("unknown option", "unknown key 'network.layers'"),
        ("options are text", "expected a table"),
        ("wrong shape", r"layers.0.weight has shape \(3, 3\), expected \(16, 9\)"),
        ("weights missing", "layers.0.weight has shape None"),
        ("weights are text", "layers.0.weight has shape None"),
        ("no state", "has shape None"),
        ("NaN", "layers.0.weight' holds NaN or infinity"),
        ("spec", "'spec.kind' = 'jet'"),
        ("geometry", "missing key 'spec.geometry.layers'"),
        ("transform", "unknown transform step 'lgo'"),
        ("transform is text", "damaged emulator file"),
        ("code", "could run code"),
    ],
)
def test_damaged_files_are_refused(emulator_file, tmp_path, capsys, how, says):
    path = tmp_path / "bad.pt"
    content = torch.load(emulator_file, weights_only=True)
    torch.save(damaged(content, how), path)
    with pytest.raises(InputError, match=says) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p, good: p.write_text("hello"), "not an emulator file, or cut short"),
        (lambda p, good: p.write_bytes(b""), r"\(0 bytes\)"),
        (lambda p, good: p.write_bytes(good[: len(good) // 2]), "cut short"),
        (lambda p, good: p.write_bytes(pickle.dumps(Malicious())), "not an emulator file"),
        (lambda p, good: zipfile.ZipFile(p, "w").writestr("a.txt", "b"), "damaged torch file"),
        (lambda p, good: p.mkdir(), "holds no emulator.pt"),
        (lambda p, good: None, "no such emulator file or run folder"),
    ],
    ids=["text", "empty", "half", "pickle", "zip", "folder", "absent"],
)
def test_other_files_are_refused(emulator_file, tmp_path, make, says):
    path = tmp_path / "bad.pt"
    make(path, emulator_file.read_bytes())
    with pytest.raises(InputError, match=says):
        load(path)


def test_pretrained_names(emulator_file, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    with pytest.raises(InputError, match="none are installed"):
        load("photon-showers")
    (tmp_path / "photon-showers.pt").write_bytes(emulator_file.read_bytes())
    (tmp_path / "photon-showers.md").write_text("# Photons\n\nPhotons in a\nblock. And more.\n")
    assert pretrained.available() == {"photon-showers": "Photons in a block."}
    assert load("photon-showers").name == "photon-showers"
    with pytest.raises(InputError, match=r"did you mean 'photon-showers'\?"):
        load("photon-shower")
    with pytest.raises(KeyError):
        pretrained.path("nothing")


def test_unwritable_place(emulator, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        emulator.save(tmp_path / "file" / "emulator.pt")


def test_unknown_device(emulator):
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        emulator.to("gpu")
    with pytest.raises(InputError, match="device 'cuda:99' cannot be used"):
        emulator.to("cuda:99")


def test_compact_file_is_half_as_large_and_nearly_the_same(emulator, tmp_path):
    emulator.save(tmp_path / "full.pt")
    emulator.save(tmp_path / "compact.pt", compact=True)
    full, compact = load(tmp_path / "full.pt"), load(tmp_path / "compact.pt")
    weights = [dict(e.generator.named_parameters()) for e in (full, compact)]
    for name, weight in weights[0].items():
        assert weights[1][name].dtype == weight.dtype
        assert torch.allclose(weights[1][name], weight, rtol=2**-8, atol=1e-30)
    assert any(not torch.equal(weights[1][n], w) for n, w in weights[0].items())
    stored = [(tmp_path / f"{name}.pt").stat().st_size for name in ("full", "compact")]
    assert stored[1] < 0.7 * stored[0]
