"""What `conftest.py` promises every test."""

from __future__ import annotations

import asyncio
import math
import time

import pytest


async def test_how_long_a_step_took_is_not_among_what_was_logged(caplog: pytest.LogCaptureFixture):
    assert asyncio.get_running_loop().get_debug()
    time.sleep(0.11)  # of which a loop in debug mode speaks, as it does of a busy machine
    await asyncio.sleep(0)
    assert caplog.records == []


async def test_tasks_are_watched(request: pytest.FixtureRequest):
    assert "no_leaked_tasks" in request.fixturenames


def test_nothing_asynchronous_is_made_for_what_is_not(request: pytest.FixtureRequest):
    assert "no_leaked_tasks" not in request.fixturenames
    assert "no_leaked_threads" in request.fixturenames


@pytest.mark.asyncio(loop_scope="module")
async def test_tasks_are_watched_in_a_loop_that_tests_share(request: pytest.FixtureRequest):
    assert "no_tasks_leaked_in_a_shared_loop" in request.fixturenames
    assert asyncio.get_running_loop().slow_callback_duration == math.inf  # so it is this one
