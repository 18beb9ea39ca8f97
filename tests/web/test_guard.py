"""Whom the server lets in, and what it tells the others."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from servers.serving import Served, serving

from streampose.errors import ConfigError
from streampose.observe import guesses
from streampose.observe.access import Address, is_loopback
from streampose.observe.guesses import Guesses
from streampose.web.limits import Limits

TOKEN = "correct-horse"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_without_the_token_nothing_but_the_page_is_answered(http: aiohttp.ClientSession):
    """Whatever the method, and whatever a client calls a stream or a session."""
    async with serving(token=TOKEN) as served:
        guarded = {
            (route.method, re.sub(r"{\w+}", "page", route.resource.canonical))
            for route in served.server._runner.app.router.routes()
            if route.method != "OPTIONS"
        }
        guarded = {(method, path) for method, path in guarded if path != "/" and not path.startswith("/page/")}
        assert {"GET", "HEAD", "POST", "DELETE"} <= {method for method, _ in guarded}
        for method, path in [*guarded, ("GET", "/session/page/x"), ("GET", "/api/page/streams")]:
            async with http.request(method, served.url + path, data=b"", allow_redirects=False) as answer:
                assert answer.status == 401, (method, path)
        for method, path in guarded:
            within = path.replace("/page", "/page%2F")
            async with http.request(method, served.url + within, data=b"", allow_redirects=False) as answer:
                assert answer.status in {401, 404, 405}, (method, within)


async def test_who_guesses_the_token_is_told_once(http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture):
    async with serving(token=TOKEN) as served:
        for header in ({}, *[{"Authorization": f"Bearer guess-{i}"} for i in range(5)]):
            async with http.get(f"{served.url}/api/streams", headers=header) as answer:
                words = "that is not the token" if header else "a token is needed"
                assert (answer.status, await answer.json()) == (401, {"error": words})
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and r.name == "streampose"] == [
        "127.0.0.1 sent a wrong token (said once a minute)"
    ]


async def test_of_many_addresses_that_guess_some_are_told_and_counted(caplog: pytest.LogCaptureFixture):
    now = [0.0]
    counted = Guesses(1, lambda: now[0])
    for i in [*range(1100), *([1] * 9)]:
        counted.add(f"2001:db8:{i:x}::{i:x}")
    assert len(counted._told_at) == len(caplog.records) == 32
    assert len(counted._wrong) == 1025
    # What was not counted by itself is as one; an address is what one party has of IPv6.
    assert counted.guessing("2001:db8:ffff::1")
    assert counted.guessing("2001:db8:1::abcd")
    now[0] = 61.0
    assert not counted.guessing("2001:db8:1::abcd")
    counted.add("10.0.0.1")
    assert len(counted._wrong) == 1


async def asked(http: aiohttp.ClientSession, url: str, token: str, method: str = "GET") -> tuple[int, float]:
    """The status, and how many seconds it took."""
    began = time.monotonic()
    async with http.request(method, url, headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer.status, time.monotonic() - began


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/streams"), ("OPTIONS", "/whip")])
async def test_who_guesses_the_token_is_slowed_down_and_keeps_nobody_out(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, method: str, path: str
):
    """A right token that were compared sooner than a wrong one would tell who guesses as much."""
    monkeypatch.setattr(guesses, "_LATER_S", 0.4)
    fresh = {"connector": aiohttp.TCPConnector(force_close=True)}
    other = {"connector": aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))}
    async with (
        serving(token=TOKEN) as served,
        aiohttp.ClientSession(**fresh) as newcomer,
        aiohttp.ClientSession(**other) as neighbour,
    ):
        assert (await asked(http, f"{served.url}/api/streams", TOKEN))[0] == 200
        url = served.url + path
        many = await asyncio.gather(*(asked(newcomer, url, f"guess-{i}", method) for i in range(10)))
        assert max(took for _, took in many) < 0.4
        _, wrong_s = await asked(newcomer, url, "guess", method)
        status, right_s = await asked(newcomer, url, TOKEN, method)
        assert status in {200, 204}
        assert min(wrong_s, right_s) >= 0.4
        # Who has shown the token on this connection, is at another address, or wants the page, does not wait.
        assert (await asked(http, url, TOKEN, method))[1] < 0.4
        assert (await asked(neighbour, url, TOKEN, method))[1] < 0.4
        assert (await asked(newcomer, f"{served.url}/", "guess"))[1] < 0.4
        # A connection may be a proxy's, and of many people.
        assert (await asked(http, url, "guess", method))[1] < 0.4
        assert (await asked(http, url, TOKEN, method))[1] >= 0.4


async def test_guesses_that_wait_take_nobody_s_connection(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch):
    """The right token of their address is compared, too, if it is among those that wait."""
    monkeypatch.setattr(guesses, "_LATER_S", 0.8)
    other = {"connector": aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))}
    async with serving(token=TOKEN, limits=Limits(connections=20)) as served:
        url, port = f"{served.url}/api/streams", int(served.url.rpartition(":")[2])
        for _ in range(10):
            assert (await asked(http, url, "guess"))[0] == 401
        right = asyncio.create_task(asked(http, url, TOKEN))
        guess = f"GET /api/streams HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer guess\r\n\r\n"
        many = []
        for _ in range(30):
            many.append(await asyncio.open_connection("127.0.0.1", port))
            many[-1][1].write(guess.encode())
            await asyncio.sleep(0.01)  # until it waits or is refused
        async with aiohttp.ClientSession(**other) as neighbour:
            assert (await asked(neighbour, url, TOKEN))[0] == 200
        answers = [(await reader.read(400)).decode() for reader, _ in many]
        assert {answer[9:12] for answer in answers} == {"401", "429"}
        assert (await right)[0] == 200
        for _, writer in many:
            writer.transport.abort()


async def test_a_link_of_elsewhere_leads_to_the_page(served: Served, http: aiohttp.ClientSession):
    async with http.get(f"{served.url}/", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
async def test_an_address_bar_and_the_page_itself_get_answers(served: Served, http: aiohttp.ClientSession, site: str):
    async with http.get(f"{served.url}/api/streams", headers={"Sec-Fetch-Site": site}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("origin", ["http://localhost", "https://localhost:443"])
async def test_an_origin_is_compared_as_a_browser_writes_it(served: Served, http: aiohttp.ClientSession, origin: str):
    """The usual port is left out of both headers."""
    headers = {"Host": origin.partition("://")[2], "Origin": origin}
    async with http.get(f"{served.url}/api/streams", headers=headers) as answer:
        assert answer.status == 200


async def test_behind_a_proxy_that_changes_the_host_the_page_comes_and_is_told(
    served: Served, http: aiohttp.ClientSession
):
    headers = {"Origin": "http://poses.example", "Sec-Fetch-Site": "same-origin"}
    async with http.get(f"{served.url}/page/app.js", headers=headers) as answer:
        assert answer.status == 200
    async with http.post(f"{served.url}/whip", headers=headers) as answer:
        assert answer.status == 403
        assert "a proxy changes the Host header" in await answer.text()


async def test_who_names_no_host_is_not_answered(served: Served):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"GET /api/streams HTTP/1.0\r\n\r\n")
    assert b" 421 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


async def test_a_secret_is_not_repeated_in_a_refusal(served: Served, http: aiohttp.ClientSession):
    async with http.post(f"{served.url}/api/streams", json={"id": "x", "source": "synthetic:"}) as answer:
        assert answer.status == 201
    async with http.patch(f"{served.url}/api/streams/x", json={"budget_ms": "rtsp://me:geheim@camera/"}) as answer:
        assert answer.status == 422
        text = await answer.text()
    assert "budget_ms cannot be 'rtsp://***@camera/'" in text


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost.evil.example", False),
        ("evillocalhost", False),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("", False),
    ],
)
def test_what_is_loopback(host: str, local: bool):
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer c",
        "Bearer correct-hors",
        "Bearer CORRECT-HORSE",
        "Digest correct-horse",
        "Basic Y29ycmVjdC1ob3JzZQ==",  # the token without a colon: a name, not a password
    ],
)
def test_what_is_nearly_the_token_is_not(header: str):
    assert not Address(port=1, token=TOKEN).knows(header)


def test_an_empty_token_is_none():
    with pytest.raises(ConfigError, match="give a token"):
        Address(host="0.0.0.0", port=1, token="")
    here, without = Address(port=1, token=""), Address(port=1)
    for header in ("", "Bearer ", "Bearer x"):
        assert here.knows(header) is without.knows(header) is True
    for host in ("localhost:1", "evil.example"):
        assert here.is_called(host) is without.is_called(host)
