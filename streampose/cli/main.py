"""The command's front door: one-line errors, exit codes, and the commands themselves."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

import streampose
from streampose.cli.bench import bench
from streampose.cli.cameras import cameras
from streampose.cli.convert import convert
from streampose.cli.demo import demo
from streampose.cli.doctor import doctor
from streampose.cli.models import models
from streampose.cli.process import process_command
from streampose.cli.render import render
from streampose.cli.retarget import retarget
from streampose.cli.run import run
from streampose.cli.say import fail, speak
from streampose.cli.serve import serve
from streampose.cli.template import config
from streampose.cli.top import top
from streampose.errors import StreamposeError
from streampose.observe.logs import LogFormat, LogLevel, clean_records, set_up
from streampose.redaction import redact

__all__ = ["app", "main"]

log = logging.getLogger("streampose")

app = typer.Typer(
    name="streampose",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Real-time human poses from webcams, RTSP cameras, files and more, through one engine.",
    epilog="Exit codes: 0 all went well · 1 something failed · 2 the command was not understood · 130 cut off.",
)
app.command()(run)
app.command()(serve)
app.command(name="process")(process_command)
app.command()(render)
app.command()(retarget)
app.command()(convert)
app.command()(demo)
app.command()(config)
app.command()(doctor)
app.command()(bench)
app.command()(top)
app.command()(cameras)
app.add_typer(models, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(streampose.__version__)
        raise typer.Exit


@app.callback()
def _globals(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debugging messages.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="What is said on standard error: text, or one JSON object a line.")
    ] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="The least that is logged.")] = LogLevel.WARNING,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_up(log_format, logging.DEBUG if debug else log_level.number)
    speak(log_format)


def main() -> None:
    """Run the command; the console script's entry."""
    clean_records()  # from the first moment: options set up the rest
    try:
        app()
    except StreamposeError as error:
        if "--debug" in sys.argv:
            log.debug("the error's way", exc_info=error)  # a bare traceback would show passwords of URLs
        fail(redact(str(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # a bug of ours
        log.critical("%s: %s", type(error).__name__, error, exc_info=error, extra={"event": "crash"})
        sys.exit(1)
