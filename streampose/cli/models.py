"""`streampose models`: what there is, and fetching it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from streampose.cli.command import Command, Group
from streampose.cli.say import console, dim, has_watcher, say
from streampose.errors import ChecksumMismatch, DownloadError
from streampose.inference import zoo
from streampose.redaction import redact

__all__ = ["models"]

models = typer.Typer(cls=Group, no_args_is_help=True, help="Models by name: list, show, pull, remove.")

_Folder = Annotated[
    Path | None, typer.Option("--cache-dir", help="Where models are kept; the user's cache folder by default.")
]
_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@models.command("list", cls=Command)
def list_models(cache_dir: _Folder = None, as_json: _Json = False) -> None:
    """List every model that has a name."""
    rows = list(zoo.entries().values())
    if as_json:
        typer.echo(json.dumps([_facts(entry, cache_dir) for entry in rows], indent=1))
        return
    table = Table(box=None, header_style="dim")
    for column in ("name", "kind", "key points", "input", "licence", "here"):
        table.add_column(column, no_wrap=column == "name")
    for entry in rows:
        here = _here(entry, cache_dir)
        size = "×".join(map(str, entry.size_px))
        table.add_row(entry.name, entry.kind, entry.skeleton or "", size, entry.licence, here)
    Console().print(table)
    say(
        dim(
            "addresses are as published, and were not tried by us; streampose-nano is part of the package; "
            "licences are those of the weights"
        )
    )


@models.command("show", cls=Command)
def show_model(name: str, cache_dir: _Folder = None, as_json: _Json = False) -> None:
    """Show one model: address, licence, checksum."""
    facts = _facts(zoo.entry(name), cache_dir)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for key, value in facts.items():
        if value not in {None, ""}:
            typer.echo(f"{key:>10}  {value}")


@models.command("pull", cls=Command)
def pull_models(
    names: Annotated[list[str], typer.Argument(help="Names from `streampose models list`.")],
    url: Annotated[str | None, typer.Option(help="Fetch it from this mirror instead (one name).")] = None,
    cache_dir: _Folder = None,
) -> None:
    """Fetch models; an interrupted download goes on where it stopped."""
    if url is not None and len(names) > 1:
        raise typer.BadParameter("a mirror is for one model", param_hint="--url")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    for entry in [zoo.entry(name) for name in names]:
        if entry.name == zoo.NANO:
            say(f"{entry.name} is part of the package: nothing to fetch")
            continue
        if (kept := zoo.cached(entry.name, cache_dir)) is not None:
            instead = "" if url is None else f"; to fetch it from {redact(url)}: streampose models remove {entry.name}"
            say(f"{entry.name} is here already: nothing to fetch{instead}")
            typer.echo(kept)
            continue
        if not entry.verified:
            say(dim(f"{entry.name}: address from {entry.listed_in}, not verified by us; licence {entry.licence}"))
        with Progress(*columns, console=console, transient=True, disable=not has_watcher()) as bars:
            task = bars.add_task(entry.name, total=None)
            path = zoo.pull(
                entry.name,
                cache_dir,
                url=url,
                progress=lambda done, total, bars=bars, task=task: bars.update(task, completed=done, total=total),  # type: ignore[misc]
            )
        typer.echo(path)


@models.command("remove", cls=Command)
def remove_models(
    names: list[str],
    cache_dir: _Folder = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Trust whatever comes at the next pull: forget the recorded checksum.")
    ] = False,
) -> None:
    """Delete models from this machine."""
    for name in names:
        say(f"{name}: {'removed' if zoo.remove(name, cache_dir, forget=forget) else 'was not here'}")


def _facts(entry: zoo.Entry, folder: Path | None) -> dict[str, object]:
    here = _here(entry, folder)
    file = str(zoo.cached(entry.name, folder)) if here == "yes" else None
    return {**asdict(entry), "size_px": "×".join(map(str, entry.size_px)), "here": here, "file": file}


def _here(entry: zoo.Entry, folder: Path | None) -> str:
    try:
        return "yes" if zoo.cached(entry.name, folder) else ""
    except ChecksumMismatch:
        return "damaged"
    except DownloadError:
        return "unreadable"
