"""The command's front door: one-line errors, exit codes, and the commands themselves."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import takewhile
from typing import Annotated, Any

import typer

import streampose
from streampose.cli.command import Command, Group, unwrapped
from streampose.cli.say import fail, speak, speaks_json
from streampose.cli.standard import all_there, standard_error, standard_output
from streampose.errors import StreamposeError
from streampose.interrupt import cut_off_at_once
from streampose.observe.logs import LogFormat, LogLevel, clean_records, set_up
from streampose.redaction import redact, unspaced

__all__ = ["main"]

log = logging.getLogger("streampose")

# Each command's module and function. The others' modules are not imported: that is half of the time until one begins.
_COMMANDS = {
    "run": "run:run",
    "serve": "serve:serve",
    "process": "process:process_command",
    "render": "render:render",
    "retarget": "retarget:retarget",
    "convert": "convert:convert",
    "demo": "demo:demo",
    "config": "template:config",
    "doctor": "doctor:doctor",
    "bench": "bench:bench",
    "top": "top:top",
    "cameras": "cameras:cameras",
    "models": "models:models",
}
# What may stand before a command without being a misspelt one, or a wish for help.
_BEFORE = re.compile("--debug|--log-(format|level)(=.*)?|text|json|debug|info|warning|error")

# Of every command, and of none.
_GLOBAL = {"--debug", "--log-format", "--log-level", "--version"}

# The base of it, which typer does not export.
_USAGE_ERRORS: tuple[Any, ...] = typer.BadParameter.__bases__

# What `Path.exists` and its like raise of a path that somebody has typed.
_UNSEEN = {errno.EACCES, errno.ENAMETOOLONG}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(streampose.__version__)
        raise typer.Exit


def _globals(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debugging messages.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="What is said on standard error: text, or one JSON object a line.")
    ] = LogFormat.TEXT,
    log_level: Annotated[
        LogLevel, typer.Option(metavar="LEVEL", help="The least that is logged: debug, info, warning or error.")
    ] = LogLevel.WARNING,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_up(log_format, logging.DEBUG if debug else log_level.number)
    speak(log_format)


@contextlib.contextmanager
def _redacted() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERRORS as error:
        # One that no command knows; what stands at its place and lacks a value has no possibilities.
        if hasattr(error, "possibilities") and error.option_name in _GLOBAL:
            error.message = f"{error.option_name} stands before the command: streampose {error.option_name} …"
            error.possibilities = None
        error.message = redact(error.message)
        # Help is asked for by a command alone, and is for people in any form.
        if not speaks_json() or type(error).__name__ == "NoArgsIsHelpError":
            raise
        where = "streampose" if error.ctx is None else error.ctx.command_path
        fail(f"{error.format_message()} ({where} --help)")
        raise typer.Exit(error.exit_code) from None


class _Commands(Group):
    """Usage errors show what was typed, but no secrets; where a machine reads they are log records, too."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _redacted():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _redacted():
            return super().invoke(ctx)


def _app(words: Sequence[str]) -> typer.Typer:
    """With the command that is asked for; with all where that is not clear, or there is a file for several of them.

    To tell the version, none is needed.
    """
    app = typer.Typer(
        name="streampose",
        cls=_Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Real-time human poses from webcams, RTSP cameras, files and more, through one engine.",
        epilog="Exit codes: 0 all went well · 1 something failed · 2 the command was not understood · 130 cut off.",
    )
    app.callback()(_globals)
    before = [*takewhile(lambda word: word not in _COMMANDS, words)]
    named = words[len(before) :][:1]
    alone = all(map(_BEFORE.fullmatch, before)) and not any(word.startswith("--config") for word in words)
    for name in () if [*words] == ["--version"] else named if named and alone else _COMMANDS:
        module, function = _COMMANDS[name].split(":")
        command = getattr(import_module(f"streampose.cli.{module}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=Command, help=unwrapped(command))(command)
    return app


@standard_error()
def main() -> None:
    """Run the command; the console script's entry."""
    all_there()
    clean_records()  # from the first moment: options set up the rest
    sys.argv[1:] = map(unspaced, sys.argv[1:])  # so that no message shows a password with a space
    # A shell that completes says in variables what there is of the command line.
    completed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    try:
        with standard_output():
            with cut_off_at_once():
                app = _app([*sys.argv[1:], *completed.split()[1:]])
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
    except Exception as error:
        if isinstance(error, FileNotFoundError) and _is_nowhere():
            fail("the current folder is gone: change into another one")
        elif isinstance(error, OSError) and error.errno in _UNSEEN and error.filename:
            fail(redact(f"{error.filename} cannot be looked at: {error.strerror}"))
        else:  # a bug of ours
            log.critical("%s: %s", type(error).__name__, error, exc_info=error, extra={"event": "crash"})
        sys.exit(1)


def _is_nowhere() -> bool:
    """Whether the current folder was removed: then a relative path means nothing."""
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd calls it
    except FileNotFoundError:
        return True
    return False
