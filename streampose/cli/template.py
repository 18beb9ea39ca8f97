"""`streampose config`: a file of options to begin with."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from streampose.cli.presets import PRESETS, Name
from streampose.cli.say import say
from streampose.errors import ConfigError
from streampose.whole import creating

__all__ = ["config", "template"]


def config(
    out: Annotated[str, typer.Argument(help="The file to write; - for standard output.")] = "streampose.toml",
    preset: Annotated[Name, typer.Option(help="With the values of this preset.")] = "balanced",
    force: Annotated[bool, typer.Option("--force", help="Overwrite it.")] = False,
) -> None:
    """Write a file of options with comments, for `--config`.

    Examples:

      streampose config

      streampose config fast.toml --preset realtime
    """
    text = template(preset)
    if out == "-":
        typer.echo(text, nl=False)
        return
    if not out:
        raise ConfigError("the file's name is empty: name one, or - for standard output")
    path = Path(out)
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already: --force overwrites it")
    with creating(path):
        path.write_text(text, encoding="utf-8")
    say(f"written: {path}")


def template(preset: str) -> str:
    """The text, with the lines of a preset in force."""
    text = resources.files("streampose.cli").joinpath("data/streampose.toml").read_text(encoding="utf-8")
    for name, value in PRESETS[preset].items():
        key = name.replace("_", "-")
        # Texts, numbers and truth values are the same in JSON.
        text = re.sub(rf"^# {key} = .*$", f"{key} = {json.dumps(value)}", text, flags=re.MULTILINE)
    return text
