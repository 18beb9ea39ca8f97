"""The command's front door: one-line errors, exit codes, and the commands themselves."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, TextIO

import typer

import streampose
from streampose.cli.bench import bench
from streampose.cli.cameras import cameras
from streampose.cli.demo import demo
from streampose.cli.doctor import doctor
from streampose.cli.models import models
from streampose.cli.run import run
from streampose.cli.say import fail
from streampose.errors import StreamposeError, redact

__all__ = ["app", "main"]

app = typer.Typer(
    name="streampose",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Real-time human poses from webcams, RTSP cameras, files and more, through one engine.",
    epilog="Exit codes: 0 all went well · 1 something failed · 2 the command was not understood · 130 cut off.",
)
app.command()(run)
app.command()(demo)
app.command()(doctor)
app.command()(bench)
app.command()(cameras)
app.add_typer(models, name="models")


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: a live display puts itself in its place, to be written above."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.stream = sys.stderr
        super().emit(record)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(streampose.__version__)
        raise typer.Exit


@app.callback()
def _globals(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debugging messages.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", handlers=[_StandardError()])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def main() -> None:
    """Run the command; the console script's entry."""
    try:
        app()
    except StreamposeError as error:
        if "--debug" in sys.argv:
            raise
        fail(redact(str(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
