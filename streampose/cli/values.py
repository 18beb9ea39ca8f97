"""What people type, to values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from streampose.errors import ConfigError
from streampose.redaction import redact
from streampose.sinks import Rotation

__all__ = [
    "at_least",
    "check_path",
    "named_sources",
    "parse_budget",
    "parse_rate",
    "parse_rotation",
    "parse_seconds",
    "parse_size",
    "parse_time",
]

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<source>.*)", re.DOTALL)
_MISNAMED = re.compile(r"(?P<name>[^=/:?*]+)=(?P<source>(?P<sure>\w[\w+]+:.*|\d{1,2}|/.*)|.+)", re.DOTALL)
_PATH = re.compile(r"(\.{0,2}|[a-zA-Z]:)[/\\]")
_PLACE = re.compile(r"((?P<hours>\d+):(?=\d+:))?((?P<minutes>\d+):)?(?P<seconds>\d+(\.\d+)?)")
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?")
_DURATION = re.compile(rf"(?P<number>{_NUMBER.pattern})\s*(?P<unit>ms|s|m|h|d)?")
# Who waits longer for what is live says so.
_LONGEST_S = 10
# Nobody says so of that.
_NO_LATENCY_S = 600
_SECONDS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<prefix>[kmg]?)(?P<binary>i?)b")

# Television's rates are these by 1000/1001, and nobody types all of their digits: 23.98 is one, too.
_TELEVISION = (24, 30, 48, 60, 120, 240)
_TYPED = 0.005


def named_sources(texts: list[str], *, for_urls: bool = False) -> dict[str, str]:
    """``NAME=SOURCE`` or ``SOURCE`` each, to sources by name; a missing name is made from the source.

    Args:
        texts: as above.
        for_urls: a name that is made is one of ASCII letters, and no longer than a server takes.

    Raises:
        ConfigError: a name is given twice, or has other signs than letters, digits, ``.``, ``_`` and ``-``.
    """
    named: dict[str, str] = {}
    for text in texts:
        is_file = Path(text).exists()
        if not is_file and (match := _NAMED.fullmatch(text)) is not None:
            name, source = match["name"], match["source"]
            if name in named:
                raise ConfigError(f"two streams are named {name!r}: give each its own name")
        elif (
            not is_file
            and (misnamed := _MISNAMED.fullmatch(text)) is not None
            and (misnamed["sure"] or Path(misnamed["source"]).exists())
        ):
            raise ConfigError(f"a stream's name has letters, digits, . _ and - only: {misnamed['name']!r} has others")
        else:
            source, wanted = text, _ascii(_name(text)) if for_urls else _name(text)
            name = next(
                n for i in range(1, len(texts) + 2) if (n := wanted if i == 1 else f"{wanted}-{i}") not in named
            )
        named[name] = source
    return named


def _name(source: str) -> str:
    """A short name that is safe in file names and says where a source comes from, without its password."""
    if source.startswith("synthetic:"):
        return "synthetic"
    if source.isdigit():
        return f"camera{source}"
    try:
        host = urlsplit(source).hostname if "://" in source else None
    except ValueError:  # not a URL: opening it says so
        host = "stream"
    name = host or Path(source.rstrip("/*?")).stem or "stream"
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "stream"


def _ascii(name: str) -> str:
    """Without accents; what cannot be written without is left out."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "", unicodedata.normalize("NFKD", name))
    return plain.strip("_.-")[:56] or "stream"


def check_path(option: str, text: str) -> None:
    """See that what is to be written has no name with a password in it: that of a URL without its scheme. What begins
    as a path is one.

    Raises:
        ConfigError: it has.
    """
    if (shown := redact(text)) != text and not _PATH.match(text):
        raise ConfigError(
            f"{option} {shown} is an address, and what comes out are files: if it is a path, begin with ./"
        )


def parse_seconds(text: str, *, zero: bool = False) -> float:
    """``100ms``, ``0.2s``, ``0.2`` (seconds), ``5m``, ``1h``, ``1d``.

    Args:
        text: as above.
        zero: also 0, which switches something off.

    Raises:
        ConfigError: something else.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else -1.0
    if seconds < 0 or (seconds == 0 and not zero):
        raise ConfigError(f"{text!r} is not a time: write 100ms, 0.2s or 5m")
    return seconds


def at_least(least_s: float) -> Callable[[Any], float]:
    """What reads a time as an option's value."""

    def read(value: object) -> float:
        try:
            seconds = parse_seconds(str(value), zero=least_s == 0)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None
        if seconds < least_s:
            raise typer.BadParameter(f"{value} is less than {least_s:g} s")
        return seconds

    return read


def parse_budget(text: str) -> float:
    """Latency that live streams aim at, as `parse_seconds`, up to 10 min; a bare 100 is refused, which seldom means
    100 s.

    Raises:
        ConfigError: something else.
    """
    number = text.strip()
    if _NUMBER.fullmatch(number) and float(number) > _LONGEST_S:
        raise ConfigError(f"a budget of {number} may be {number}ms or {number}s: write which")
    seconds = parse_seconds(text)
    if seconds > _NO_LATENCY_S:
        raise ConfigError(f"a budget of {number} is no latency: write 100ms, or --offline where nothing is in a hurry")
    return seconds


def parse_rotation(text: str | None, keep: int | None) -> Rotation | None:
    """``100MB`` (or kB, GB, MiB, …), ``1h`` (or s, m, d), or both, with a comma.

    Raises:
        ConfigError: something else, or old files are to be kept where there will be none.
    """
    if text is None:
        if keep is not None:
            raise ConfigError("--json-keep is for old files: say when there are any by --json-rotate, say 100MB or 1d")
        return None
    max_bytes: int | None = None
    max_age_s: float | None = None
    for part in map(str.strip, text.lower().split(",")):
        match = _BYTES.fullmatch(part)
        if (max_age_s if match is None else max_bytes) is not None:
            raise ConfigError(f"--json-rotate {text}: write one size, one time, or one of each (100MB,1h)")
        if match is not None:
            base = 1024 if match["binary"] else 1000
            max_bytes = round(float(match["number"]) * base ** " kmg".index(match["prefix"] or " "))
        elif part[-1:] in {"s", "m", "h", "d"}:
            max_age_s = parse_seconds(part)
        else:
            raise ConfigError(f"--json-rotate {text}: write a size (100MB), a time (1h, 1d), or both (100MB,1h)")
    return Rotation(max_bytes=max_bytes, max_age_s=max_age_s, keep=keep)


def parse_time(text: str) -> float:
    """A place in a recording: ``90``, ``1:30``, ``01:02:03.5``, to seconds.

    Raises:
        ConfigError: something else.
    """
    if (match := _PLACE.fullmatch(text.strip())) is None:
        raise ConfigError(f"{text!r} is not a place in a recording: write 90, 1:30 or 01:02:03.5")
    hours, minutes, seconds = match["hours"] or 0, match["minutes"] or 0, match["seconds"]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def parse_rate(text: str) -> Fraction:
    """``24``, ``23.976`` or ``30000/1001`` frames a second; 23.976, 29.97 and the like mean 24000/1001, 30000/1001.

    Raises:
        ConfigError: something else.
    """
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 3600) <= rate <= 1000:
        raise ConfigError(f"{text!r} is no rate: write 24, 23.976 or 30000/1001 frames a second")
    meant = Fraction(round(rate) * 1000, 1001)
    if round(rate) in _TELEVISION and abs(meant - rate) < _TYPED:
        return meant
    # FFmpeg counts both sides in 31 bits.
    return rate.limit_denominator(1_000_000)


def parse_size(text: str) -> tuple[int, int]:
    """``640x384`` (width, height) or ``320`` (a square).

    Raises:
        ConfigError: something else.
    """
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"{text!r} is not a size: write 640x384, or 320 for a square")
    return int(parts[0]), int(parts[-1])
