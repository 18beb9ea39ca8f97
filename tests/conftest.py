"""Fixtures for every test: the shared material, and a guard against leaked threads and tasks."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

import streampose
from streampose.skeletons import SKELETONS

PACKAGE = Path(streampose.__file__).parent

# Started in the background of a script, Python ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Laws are about what comes out, not about how long a busy machine takes for it. The gate tries the same examples each
# time, so what fails there fails because of a change; `--hypothesis-profile search` tries new ones.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("streampose", settings.get_profile("search"), derandomize=True)
settings.load_profile("streampose")

# Files of few tests that take long. pytest-xdist hands out files with many tests first, and so had these for the end,
# when one worker had nothing else to do.
LONG = (
    "benchmarks/test_gpu.py",
    "benchmarks/test_soak.py",
    "training/test_recipe.py",
    "core/test_memory.py",
    "real/test_footage.py",
    "web/test_contract.py",
    "web/test_firefox.py",
    "web/test_serve.py",
    "offline/test_wholebody.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # of pytest-xdist: files are handed out as they stand


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONG)}
    tests = Counter(item.path for item in items)
    # File by file: these, then those with many tests.
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -tests[item.path]))
    for item in items:
        # Not for the rest: a loop of their own would take most of their time.
        if isinstance(item, pytest.Function) and (marker := item.get_closest_marker("asyncio")):
            shared = marker.kwargs.get("loop_scope") == "module"
            guard = "no_tasks_leaked_in_a_shared_loop" if shared else "no_leaked_tasks"
            # After those of the whole file, such as its browser, and before those of the test.
            item.fixturenames.insert(item.fixturenames.index("no_leaked_threads"), guard)


def assets_dir() -> Path | None:
    named = os.environ.get("STREAMPOSE_ASSETS")
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "assets"
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real models, footage and photos."""
    path = assets_dir()
    if path is None:
        pytest.skip("the shared assets are absent: set STREAMPOSE_ASSETS to their folder")
    return path


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Other tests ask what was logged, and PyTorch's export leaves the root logger with errors alone."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(autouse=True)
def skeletons_as_they_were() -> Iterator[None]:
    """Tests put their own there."""
    before = dict(SKELETONS)
    yield
    SKELETONS.clear()
    SKELETONS.update(before)


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail a test that leaves one of our threads running."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 15
    while leaked := [t for t in threading.enumerate() if t not in before and t.name.startswith("streampose")]:
        if time.monotonic() > deadline:
            pytest.fail(f"leaked threads: {[t.name for t in leaked]}")
        time.sleep(0.01)


@pytest_asyncio.fixture
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Fail an asynchronous test that leaves a task running."""
    # The loop's remarks on what took 0.1 s tell how busy the machine is, among what a test asks to be logged.
    asyncio.get_running_loop().slow_callback_duration = math.inf
    yield
    leaked = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    if leaked:
        pytest.fail(f"leaked tasks: {leaked}")


@pytest_asyncio.fixture(loop_scope="module")
async def no_tasks_leaked_in_a_shared_loop() -> AsyncIterator[None]:
    """The same where the tests of a file share a loop, for tasks of the package: those of the browser may stay."""
    asyncio.get_running_loop().slow_callback_duration = math.inf
    yield
    if leaked := [task for task in asyncio.all_tasks() if f"running at {PACKAGE}" in repr(task)]:
        pytest.fail(f"leaked tasks: {leaked}")
