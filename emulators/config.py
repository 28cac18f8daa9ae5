"""Frozen dataclasses <-> plain mappings <-> TOML, with ``--set a.b=v`` on top.

A recipe is a TOML file; each of its tables is a frozen dataclass.  `build` checks keys and types
and names the nearest key where one is unknown; `as_mapping` is its inverse, in plain values that go
into TOML and into an emulator file.
"""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from emulators.errors import InputError

__all__ = ["as_mapping", "build", "dump_toml", "load_toml", "nearest", "override"]

T = TypeVar("T")


def nearest(word: str, known: Sequence[str]) -> str:
    """Return what to say of a word that is not known: the nearest one that is, or all of them.

    Examples
    --------
    >>> nearest("showr", ["shower", "field"])
    " (did you mean 'shower'?)"
    >>> nearest("x", ["shower", "field"])
    ' (known: field, shower)'
    """
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(sorted(known))})"


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """Build a frozen dataclass from a plain mapping.

    Parameters
    ----------
    cls
        The dataclass; nested dataclasses, tuples, ``Literal`` and ``| None`` are understood.
    mapping
        Plain values, as a TOML file gives them.
    where
        The name of the table, for messages.

    Raises
    ------
    InputError
        A key is unknown or missing, or a value has the wrong type; the message names the key.
        A ``ValueError`` from ``__post_init__`` is reported with the name of the table.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"{where or cls.__name__}: expected a table, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values = {}
    for key, value in mapping.items():
        name = f"{where}.{key}" if where else key
        if key not in fields:
            raise InputError(f"unknown key '{name}'{nearest(key, list(fields))}")
        values[key] = _convert(hints[key], value, name)
    for key, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and key not in values:
            raise InputError(f"missing key '{f'{where}.{key}' if where else key}'")
    try:
        return cls(**values)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{where or cls.__name__}: {error}") from error


def _convert(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, name)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [a for a in arguments if a is not type(None)]
        for option in options:
            try:
                return _convert(option, value, name)
            except InputError:
                if option is options[-1]:
                    raise
    if origin is Literal:
        if value not in arguments:
            words = [str(a) for a in arguments]
            raise InputError(f"'{name}' = {value!r} is not known{nearest(str(value), words)}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            raise InputError(f"'{name}' takes {len(arguments)} values, got {len(value)}")
        return tuple(
            _convert(a, v, f"{name}[{i}]") for i, (a, v) in enumerate(zip(arguments, value))
        )
    if origin is dict and isinstance(value, Mapping):
        return {k: _convert(arguments[1], v, f"{name}.{k}") for k, v in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    right = isinstance(hint, type) and isinstance(value, hint)
    if right and (not isinstance(value, bool) or hint is bool):
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise InputError(f"'{name}' = {value!r} is not of type {expected}")


def as_mapping(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain values (dicts, lists, numbers, strings); None is left out."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init)
            return {k: plain(v) for k, v in pairs if v is not None}
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items() if v is not None}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return value

    return typing.cast(dict[str, Any], plain(config))


def load_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file; InputError where it is absent or not TOML."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such recipe") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file: {error}") from None


def dump_toml(mapping: Mapping[str, Any]) -> str:
    """Return plain values as TOML: scalars first, then tables."""

    def scalar(value: Any) -> str:
        if isinstance(value, list | tuple):
            return "[" + ", ".join(scalar(v) for v in value) + "]"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{key_text(k)} = {scalar(v)}" for k, v in value.items()) + "}"
        if isinstance(value, bool | str):
            return json.dumps(value, ensure_ascii=False)
        return repr(value)

    def key_text(key: str) -> str:
        return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)

    def table(values: Mapping[str, Any], prefix: str) -> list[str]:
        lines = [f"{key_text(k)} = {scalar(v)}" for k, v in values.items() if not _is_table(v)]
        for key, value in values.items():
            if _is_table(value):
                name = f"{prefix}{key_text(key)}"
                lines += ["", f"[{name}]", *table(value, f"{name}.")]
        return lines

    return "\n".join(table(mapping, "")).strip() + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def override(mapping: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return the mapping with ``["a.b=v", ...]`` laid over it; values are TOML, else text."""
    result = json.loads(json.dumps(mapping))
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise InputError(
                f"--set {setting}: expected key=value, e.g. --set training.samples=1e6"
            )
        try:
            value = tomllib.loads(f"v = {text.strip()}")["v"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        *parents, last = path.strip().split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise InputError(f"--set {setting}: '{parent}' is not a table")
        node[last] = value
    return typing.cast(dict[str, Any], result)
