"""What a model's own metadata says: fields of a card, and what Ultralytics' exporter writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from streampose.errors import ModelUnknown
from streampose.inference.card import Fit, Refine
from streampose.inference.signature import METADATA_KEY, Signature, warn_once
from streampose.number import is_positive, is_whole, within
from streampose.pose import Skeleton
from streampose.skeletons import SKELETONS

__all__ = ["MOST_PX", "class_names", "key_points", "picture_px", "said_by"]

MOST_PX = 8192
"""No model's input has longer sides: what says so has a slip."""
# The same of other values; none comes near.
_LARGEST = 1e9
_MOST_PADDING = 10
_LEAST_STD = 0.001
_MOST_BLUR_PX = 101
_MOST_POINTS = 1000

T = TypeVar("T")


def said_by(signature: Signature) -> dict[str, Any]:
    """What is under `METADATA_KEY`; it overrides what the graph suggests. Keys that are not known are passed over.

    Raises:
        ModelUnknown: a value is not what its key wants.
    """
    said = signature.own()
    if unknown := sorted(said.keys() - _READERS.keys()):
        keys = ", ".join(_READERS)
        warn_once(signature.path, f"its metadata {METADATA_KEY!r} has {unknown}, which says nothing here: {keys}")
    read = {}
    for key in said.keys() & _READERS.keys():
        with _understanding(signature, METADATA_KEY, f"{key}: "):
            read[key] = _READERS[key](said[key])
    return read


def class_names(signature: Signature) -> dict[int, str]:
    """Ultralytics' ``names``, by number; empty = it says none.

    Raises:
        ModelUnknown: they cannot be understood.
    """
    named = signature.ultralytics("names") or {}
    with _understanding(signature, "names"):
        _want("names by their numbers", named, isinstance(named, dict | list | tuple))
        pairs = named.items() if isinstance(named, dict) else enumerate(named)
        # Other tools' keys are text, as in JSON.
        return {_class(int(key) if isinstance(key, str) and key.isdecimal() else key): str(name) for key, name in pairs}


def picture_px(signature: Signature) -> tuple[int, int] | None:
    """Ultralytics' ``imgsz``, as width and height; `None` = it says none.

    Raises:
        ModelUnknown: it cannot be understood.
    """
    said = signature.ultralytics("imgsz")
    if not said:
        return None
    with _understanding(signature, "imgsz"):
        return _size(list(said) if isinstance(said, tuple) else said)[::-1]


def key_points(signature: Signature) -> tuple[int, int] | None:
    """Ultralytics' ``kpt_shape``: how many, and of how many numbers each; `None` = it says none.

    Raises:
        ModelUnknown: it cannot be understood.
    """
    said = signature.ultralytics("kpt_shape")
    if said is None:
        return None
    with _understanding(signature, "kpt_shape"):
        good = isinstance(said, list | tuple) and len(said) == 2
        good = good and all(is_positive(each) and each <= _MOST_POINTS and each == int(each) for each in said)
        _want("two whole numbers, of points and of numbers each", said, good)
    return int(said[0]), int(said[1])


@contextmanager
def _understanding(signature: Signature, key: str, what: str = "") -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        words = f"its metadata {key!r} cannot be understood: {what}{error!s:.200}"
        raise ModelUnknown(f"{signature.path.name}: {words}") from error


def _want(what: str, value: Any, good: bool) -> None:
    if not good:
        raise ValueError(f"{what}, not {value!r:.80}")


def _reader(what: str, good: Callable[[Any], bool], made: Callable[[Any], T]) -> Callable[[Any], T]:
    """Of a value that is good, what is made of it; of others, the words on what is wanted."""

    def read(value: Any) -> T:
        _want(what, value, good(value))
        return made(value)

    return read


def _one_of(named: Mapping[str, T]) -> Callable[[Any], T]:
    words = f"one of {', '.join(named)}"
    return _reader(words, lambda value: isinstance(value, str) and value in named, named.__getitem__)


def _skeleton(value: Any) -> Skeleton:
    """One of ours by its name, or a new one as an object."""
    if not isinstance(value, dict):
        return _one_of(SKELETONS)(value)
    keys = ("name", "points", "edges")
    _want(f"an object of {', '.join(keys)}", sorted(value), value.keys() <= set(keys))
    name, points, edges = (value.get(key, []) for key in keys)
    _want("a skeleton's name", name, _is_word(name))
    good = isinstance(points, list) and len(points) <= _MOST_POINTS and all(map(_is_word, points))
    _want(f"the names of at most {_MOST_POINTS} points", points, good)
    good = isinstance(edges, list) and len(edges) <= 10 * _MOST_POINTS and all(isinstance(e, list) for e in edges)
    _want("pairs of points' numbers", edges, good)
    skeleton = Skeleton(name=name, points=tuple(points), edges=tuple(map(tuple, edges)))
    known = SKELETONS.get(name, skeleton)
    if known != skeleton or known.edges != skeleton.edges:
        raise ValueError(f"a name that no other skeleton has, not {name!r}")
    return known


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable()


def _are(value: Any, count: int, good: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(good, value))


_yes = _reader("true or false", lambda value: isinstance(value, bool), bool)
_class = _reader("the number of a class, from 0 on", lambda value: is_whole(value) and 0 <= value < 100_000, int)
_size = _reader(
    f"width and height, two whole numbers of 1 to {MOST_PX}",
    lambda value: _are(value, 2, lambda side: is_whole(side) and 0 < side <= MOST_PX),
    lambda value: (value[0], value[1]),
)
_three = _reader(
    "three numbers, one for each colour",
    lambda value: _are(value, 3, lambda each: within(each, -_LARGEST, _LARGEST)),
    tuple,
)
_deviation = _reader(
    f"a number above 0, at least {_LEAST_STD}", lambda value: within(value, _LEAST_STD, _LARGEST), float
)

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "family": _reader("a name", lambda value: isinstance(value, str), str),
    "skeleton": _skeleton,
    "size_px": _size,
    "rgb": _yes,
    "mean": _three,
    "std": lambda value: tuple(map(_deviation, _three(value))),
    "fit": _one_of({fit.value: fit for fit in Fit}),
    "fill": _reader("a grey of 0 to 255", lambda value: is_whole(value) and 0 <= value <= 255, int),
    "rect": _yes,
    "person": _class,
    "padding": _reader(
        f"a number above 0, at most {_MOST_PADDING}", lambda value: is_positive(value) and value <= _MOST_PADDING, float
    ),
    "udp": _yes,
    "refine": _one_of({refine.value: refine for refine in Refine}),
    "blur_px": _reader(
        f"an odd number of pixels, at most {_MOST_BLUR_PX}",
        lambda value: is_whole(value) and 0 < value <= _MOST_BLUR_PX and value % 2 == 1,
        int,
    ),
}
