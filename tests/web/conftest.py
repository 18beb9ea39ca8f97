"""A web server on loopback for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from servers.serving import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served
