import tomllib
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from emulators.config import as_mapping, build, dump_toml, load_toml, nearest, override
from emulators.errors import InputError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    kind: Literal["adam", "sgd"] = "adam"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outer:
    path: str
    inner: Inner = field(default_factory=Inner)
    flag: bool = False
    free: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path == "nowhere":
            raise ValueError("path leads nowhere")


def test_there_and_back():
    config = Outer("a.h5", Inner(2.0, "sgd", (3,), (0.0, 1.5)), True, {"x": [1, "two", {"y": 3}]})
    text = dump_toml(as_mapping(config))
    assert build(Outer, tomllib.loads(text)) == config


def test_what_is_none_is_left_out_and_comes_back():
    assert "pair" not in as_mapping(Inner())
    assert build(Inner, as_mapping(Inner())) == Inner()


def test_whole_numbers_become_floats():
    assert build(Inner, {"rate": 2}) == Inner(2.0)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "missing key 'path'"),
        ({"path": "a", "iner": {}}, "unknown key 'iner' (did you mean 'inner'?)"),
        ({"path": "a", "inner": {"rat": 1}}, "unknown key 'inner.rat' (did you mean 'rate'?)"),
        ({"path": 3}, "'path' = 3 is not of type str"),
        ({"path": "a", "flag": 1}, "'flag' = 1 is not of type bool"),
        ({"path": "a", "inner": {"rate": True}}, "'inner.rate' = True is not of type float"),
        ({"path": "a", "inner": {"kind": "adm"}}, "did you mean 'adam'?"),
        ({"path": "a", "inner": {"sizes": [1, "b"]}}, "'inner.sizes[1]' = 'b' is not of type int"),
        ({"path": "a", "inner": {"pair": [1]}}, "'inner.pair' takes 2 values, got 1"),
        ({"path": "a", "inner": 3}, "inner: expected a table, got 3"),
        ({"path": "nowhere"}, "path leads nowhere"),
    ],
)
def test_what_is_wrong_is_named(mapping, message):
    with pytest.raises(InputError) as error:
        build(Outer, mapping)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_override():
    before = {"a": {"b": 1, "c": "x"}}
    after = override(before, ["a.b=2.5", "a.d.e=[1, 2]", "a.c=plain text", 'f="quoted"'])
    assert after == {"a": {"b": 2.5, "c": "plain text", "d": {"e": [1, 2]}}, "f": "quoted"}
    assert before == {"a": {"b": 1, "c": "x"}}
    for bad in ("a.b", "=3", "a.b.c=1"):
        with pytest.raises(InputError, match="--set"):
            override(before, [bad])


def test_nearest():
    assert nearest("shwoer", ["shower", "mlp"]) == " (did you mean 'shower'?)"
    assert nearest("zzz", ["shower", "mlp"]) == " (known: mlp, shower)"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such recipe"):
        load_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("a = = 3")
    with pytest.raises(InputError, match="not a readable TOML file"):
        load_toml(tmp_path / "bad.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a readable TOML file"):
        load_toml(tmp_path / "binary.toml")
