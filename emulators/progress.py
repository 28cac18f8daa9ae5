"""Progress bars of the long steps of a benchmark: on a terminal, where they are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

__all__ = ["showing", "tracked"]

T = TypeVar("T")

_shown: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def showing(shown: bool) -> Iterator[None]:
    """Show bars of the `tracked` steps begun in here, where there is a terminal."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


def tracked(parts: Sequence[T], name: str) -> Iterable[T]:
    """Yield the parts of a long step, with a bar that goes away when it is done."""
    bar: Iterable[T] = tqdm(
        parts, name, leave=False, disable=None if _shown.get() else True, dynamic_ncols=True
    )
    return bar
