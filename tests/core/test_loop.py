from __future__ import annotations

import asyncio
import sys

import pytest

from streampose.loop import run_async


async def kind() -> str:
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_commands_run_on_uvloop():
    assert run_async(kind()).startswith("uvloop")


def test_without_it_on_asyncios(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run_async(kind()).startswith("asyncio")
