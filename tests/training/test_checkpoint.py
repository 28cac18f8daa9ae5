import os
import pickle

import pytest
import torch

from emulators.errors import InputError
from emulators.training import checkpoint


def test_round_trip_and_no_leftovers(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"steps": 3, "weights": {"w": torch.arange(3)}})
    state = checkpoint.load(path)
    assert state["steps"] == 3
    assert torch.equal(state["weights"]["w"], torch.arange(3))
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_failed_save_leaves_the_old_state(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"steps": 3})
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        checkpoint.save(path, {"steps": 4, "bad": lambda: None})
    assert checkpoint.load(path)["steps"] == 3


class Evil:
    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize("what", ["absent", "truncated", "text", "other", "later", "evil"])
def test_bad_states_are_refused_in_one_line(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    if what == "text":
        path.write_text("hello")
    elif what == "other":
        torch.save({"weights": 1}, path)
    elif what == "evil":
        torch.save({"format": Evil()}, path)
    elif what != "absent":
        if what == "later":
            monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 99)
        checkpoint.save(path, {"steps": 3, "weights": torch.zeros(1000)})
        monkeypatch.undo()
        if what == "truncated":
            path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError) as raised:
        checkpoint.load(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "owned").exists()
