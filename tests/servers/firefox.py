"""A real Firefox, without a window, spoken to by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

FIREFOX = next((path for name in ("firefox-esr", "firefox") if (path := shutil.which(name))), None)

# A camera that nobody is asked for, candidates of loopback as they are, and no word with anybody.
_PREFERENCES: dict[str, Any] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.region.update.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Page:
    """One tab; what it complains about gathers in `faults`."""

    def __init__(self, command: Callable[..., Awaitable[Any]], context: str) -> None:
        self._command, self._context = command, context
        self.faults: list[str] = []

    async def goto(self, url: str) -> None:
        await self._command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def reload(self) -> None:
        await self._command("browsingContext.reload", context=self._context, wait="complete")

    async def before(self, script: str) -> None:
        """Run this in each page before its own scripts."""
        await self._command("script.addPreloadScript", functionDeclaration=f"() => {{{script}}}")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, or what it returns where it is a function; promises are awaited. Plain data."""
        called = f"const value = ({expression}); return typeof value === 'function' ? value() : value"
        found = await self._command(
            "script.callFunction",
            functionDeclaration=f"async () => JSON.stringify(await (async () => {{{called}}})()) ?? 'null'",
            target={"context": self._context},
            awaitPromise=True,
        )
        if found["type"] == "exception":
            raise AssertionError(found["exceptionDetails"]["text"])
        return json.loads(found["result"]["value"])

    async def screenshot(self, path: Path) -> None:
        taken = await self._command("browsingContext.captureScreenshot", context=self._context, origin="document")
        path.write_bytes(base64.b64decode(taken["data"]))


@contextlib.asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Page]:
    """A page of a browser of its own, with a new profile in this folder."""
    assert FIREFOX is not None
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items())
    (folder / "user.js").write_text("\n".join(lines))
    browser = await asyncio.create_subprocess_exec(
        *(
            FIREFOX,
            "--headless",
            "--no-remote",
            "--profile",
            str(folder),
            "--remote-debugging-port",
            "0",
            "about:blank",
        ),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"},
    )
    assert browser.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"WebDriver BiDi listening on " not in (line := await browser.stderr.readline()):
                assert line, "Firefox ended"
        url = line.decode().split()[-1]
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{url}/session", max_msg_size=0) as socket,
            _page(socket) as page,
        ):
            draining = asyncio.create_task(browser.stderr.read())
            yield page
            draining.cancel()
    finally:
        browser.kill()
        await browser.wait()


@contextlib.asynccontextmanager
async def _page(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Page]:
    numbers, waiting = itertools.count(1), dict[int, asyncio.Future[Any]]()

    async def command(method: str, **params: Any) -> Any:
        number = next(numbers)
        waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await socket.send_json({"id": number, "method": method, "params": params})
            async with asyncio.timeout(60):
                return await waiting[number]
        finally:
            del waiting[number]

    async def listen() -> None:
        async for message in socket:
            told = message.json()
            future = waiting.get(told.get("id"))
            if told["type"] == "event":
                entry = told["params"]
                if entry.get("level") == "error":
                    page.faults.append(entry["text"])
            elif future is not None and told["type"] == "success":
                future.set_result(told["result"])
            elif future is not None:
                future.set_exception(AssertionError(f"{told['error']}: {told['message']}"))

    page = Page(command, "")
    listening = asyncio.create_task(listen())
    try:
        await command("session.new", capabilities={})
        (tab,) = (await command("browsingContext.getTree"))["contexts"]
        page._context = tab["context"]
        await command("session.subscribe", events=["log.entryAdded"])
        yield page
    finally:
        listening.cancel()
