"""`--config FILE`: options of `run` as keys, streams as tables; errors name the line."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from streampose.cli.values import parse_budget, parse_seconds
from streampose.errors import ConfigError
from streampose.number import is_positive

__all__ = ["Config", "StreamEntry", "load_config", "tell_twins", "use_config"]

log = logging.getLogger("streampose")

_NAME = re.compile(r"[\w.-]+")
_NOT_KEYS = {"sources", "inputs", "config", "help"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEntry:
    """One stream, as written."""

    source: str
    """With its references, which are resolved when it is opened: a secret may change."""
    budget_s: float | None = None
    weight: float = 1.0
    timeout_s: float | None = None
    """Patience with its network camera; `None` = the usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says."""

    options: Mapping[str, Any]
    """By key, as written."""
    streams: Mapping[str, StreamEntry]


def use_config(context: typer.Context, file: Path | None) -> Path | None:
    """The file's values are the defaults of what the command line does not say.

    Raises:
        ConfigError: see `load_config`; or a value does not fit its option.
    """
    if file is None:
        return None
    options = {
        _key(word): parameter
        for parameter in context.command.params
        for word in parameter.opts
        if word.startswith("--") and parameter.name not in _NOT_KEYS
    }
    config, lines = _parsed(file)
    defaults: dict[str, Any] = {}
    for key, value in config.options.items():
        where = f"{file}:{lines[key]}"
        if (option := options.get(_key(key))) is None or option.name is None:
            if any(_key(key) == _key(word) for known in _known(context) for word in known.opts if word[:2] == "--"):
                continue
            if (name := _other_side(context, _key(key))) is not None:
                meant = str(not value).lower() if isinstance(value, bool) else "true or false"
                raise ConfigError(f"{where}: {key} is no key: write {name} = {meant}")
            raise ConfigError(f"{where}: no option of a file is called {key!r}; `streampose run --help` lists them")
        several = value if isinstance(value, list) and option.multiple else [value]
        typed = [_typed(option, one, where, key) for one in several]
        given = typed if option.multiple else typed[0]
        try:
            option.process_value(context, given)
        except typer.BadParameter as error:
            raise ConfigError(f"{where}: {key}: {error.message}") from None
        defaults[option.name] = given
    if config.streams:
        defaults["sources"] = [f"{name}={entry.source}" for name, entry in config.streams.items()]
    context.default_map = {**(context.default_map or {}), **defaults}
    return file


def _typed(option: Any, value: Any, where: str, key: str) -> Any:
    """As it would be typed: 4.5 is no whole number.

    Raises:
        ConfigError: no option takes such a thing, or it is several where there is one.
    """
    if isinstance(value, dict):
        raise ConfigError(f"{where}: {key} is an option, not a table: {key} = …, above the first [streams.NAME]")
    if isinstance(value, list):
        raise ConfigError(f"{where}: {key} takes one value, not a list: leave its [ ] out")
    if getattr(option, "is_flag", False):
        return value
    if isinstance(value, bool):
        raise ConfigError(f"{where}: {key} takes a value, and {str(value).lower()} is none")
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{where}: {key} takes a text in quotes, or a number")
    return str(value)


def _known(context: typer.Context) -> list[Any]:
    """The options of all commands that take such a file: one file is for all of them."""
    group = context.parent.command if context.parent is not None else None
    commands = getattr(group, "commands", {}).values()
    with_files = [c for c in commands if any(parameter.name == "config" for parameter in c.params)]
    return [parameter for c in with_files for parameter in c.params if parameter.name not in _NOT_KEYS]


def _other_side(context: typer.Context, key: str) -> str | None:
    """What a file calls the option that is switched off by this word: of no-track it is track."""
    off = {_key(word): option.opts[0].lstrip("-") for option in _known(context) for word in option.secondary_opts}
    return off.get(key)


def _key(word: str) -> str:
    return word.lstrip("-").replace("-", "_")


def tell_twins(streams: Mapping[str, StreamEntry]) -> None:
    """Warn of streams with one network source: in a long list that is mostly a line that was copied, not changed."""
    first: dict[str, str] = {}
    for name, entry in streams.items():
        is_network = "://" in entry.source and not entry.source.startswith("file://")
        if is_network and (twin := first.setdefault(entry.source, name)) != name:
            text = "%s has the same source as %s: is it the right one? Each takes a connection, and time of the engines"
            log.warning(text, name, twin, extra={"stream": name, "event": "twin"})


def load_config(file: Path) -> Config:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or a stream makes no sense; the message names the line.
    """
    return _parsed(file)[0]


def _parsed(file: Path) -> tuple[Config, dict[str, int]]:
    """And the line of each option."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # with the mark that Windows' editors put first, or without it
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    lines = dict(_statements(text))

    def place(*path: str) -> str:
        """Where it is written, or what it belongs to."""
        while path and path not in lines:
            path = path[:-1]
        return f"{file}:{lines.get(path, 1)}"

    tables = document.pop("streams", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f'{place("streams")}: streams are tables: [streams.NAME], then source = "…"')
    streams = {}
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{place('streams', name)}: {name!r} is no stream's name: letters, digits, _ . - only")
        streams[name] = _entry(table, partial(place, "streams", name))
    return Config(options=document, streams=streams), {key: lines.get((key,), 1) for key in document}


def _entry(table: Mapping[str, Any], where: Callable[[str], str]) -> StreamEntry:
    if unknown := sorted(set(table) - {"source", "budget", "weight", "timeout"}):
        what = "it has source, budget, weight and timeout"
        raise ConfigError(f"{where(unknown[0])}: a stream has no {unknown[0]!r}; {what}")
    source, weight = table.get("source"), table.get("weight", 1.0)
    if not isinstance(source, str) or not source:
        raise ConfigError(f'{where("source")}: a stream needs source = "…": a URL, a file, a camera\'s number')
    if not is_positive(weight):
        raise ConfigError(f"{where('weight')}: weight is a number above 0")

    def seconds(key: str, parse: Callable[[str], float]) -> float | None:
        try:
            return parse(str(table[key])) if key in table else None
        except ConfigError as error:
            raise ConfigError(f"{where(key)}: {error}") from None

    return StreamEntry(
        source=source,
        budget_s=seconds("budget", parse_budget),
        weight=float(weight),
        timeout_s=seconds("timeout", parse_seconds),
    )


def _statements(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line on which each table and key of a valid document begins; tomllib itself does not say."""
    table: tuple[str, ...] = ()
    begun, statement = 0, ""
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not statement:
            begun = number
        statement += line
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # goes on below
        path = _path(found)
        if statement.lstrip().startswith("["):
            table = path
            yield table, begun
        elif path:
            for i in range(len(path)):
                yield table + path[: i + 1], begun
        statement = ""


def _path(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a document of one statement, down to its value."""
    path: tuple[str, ...] = ()
    here: Any = found
    while isinstance(here, dict) and len(here) == 1:
        (key, here), *_ = here.items()
        path += (key,)
    return path
