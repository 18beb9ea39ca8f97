"""The `streampose` command."""

from streampose.cli.main import main

__all__ = ["main"]
