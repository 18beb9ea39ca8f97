"""`streampose serve` with the options of a server that others reach, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError

import cv2
import numpy as np
import pytest
from aiortc.rtcdtlstransport import RTCCertificate
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from servers.rtc_client import bare_offer
from test_run import command  # noqa: F401


@contextmanager
def program(
    *options: object, answer: bytes = b"", **variables: str
) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """Its address, as it says it, itself, and all that it says; what it asks for is answered once."""
    words = [sys.executable, "-m", "streampose", "serve", "--port", "0", *map(str, options)]
    with (
        tempfile.NamedTemporaryFile("w+") as said,
        tempfile.TemporaryFile() as typed,
    ):
        typed.write(answer)
        typed.seek(0)
        # In a session of its own it has no terminal to ask at.
        one = subprocess.Popen(words, stdin=typed, stderr=said, env=os.environ | variables, start_new_session=True)
        try:
            until_s = time.monotonic() + 60
            while (found := re.search(r"open (https?://\S+:\d+)", Path(said.name).read_text())) is None:
                assert one.poll() is None, "it ended before it listened"
                assert time.monotonic() < until_s
                time.sleep(0.05)
            yield found[1], one, Path(said.name)
        finally:
            one.kill()
            one.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        return free.getsockname()[1]


def ask(url: str, method: str = "GET", token: str | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
    context = ssl._create_unverified_context()
    known = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, method=method, headers=known | headers)
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


async def test_a_server_for_others(tmp_path: Path):
    made = RTCCertificate.generateCertificate()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made._cert.public_bytes(Encoding.PEM))
    key.write_bytes(
        made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame-sesame"))
    )
    options = ["--host", "0.0.0.0", "--token", "env:OURS", "--tls-cert", cert, "--tls-key", key, "--max-peers", 1]
    ice = ["--ice-address", "127.0.0.1", "--ice-server", "turn:me:{env:TURNS}@127.0.0.1:9"]
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(30)
    watched = ["--metrics", f"127.0.0.2:{(port := free_port())}", "--metrics-token", "env:OURS"]
    known = {"OURS": "sesame-sesame", "TURNS": "hush-hush", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with manager, program(*options, *ice, *watched, answer=b"sesame-sesame\n", **known) as (url, one, said):
        assert manager.recv(4096).startswith(b"READY=1")
        assert ask(f"http://127.0.0.2:{port}/metrics")[0] == 401
        for path in ("healthz", "readyz", "metrics"):  # nobody is there, and it is ready
            assert ask(f"http://127.0.0.2:{port}/{path}", token="sesame-sesame")[0] == 200
        assert url.startswith("https://")
        assert not url.startswith("https://0.0.0.0:")  # which is nobody's address
        assert ask(f"{url}/api/streams")[0] == 401
        status, _, text = ask(f"{url}/api/streams", token="sesame-sesame")
        assert (status, json.loads(text)["streams"]) == (200, [])
        assert "Link" not in ask(f"{url}/whip", "OPTIONS")[1]
        link = ask(f"{url}/whip", "OPTIONS", token="sesame-sesame")[1]["Link"]
        assert "turn:127.0.0.1:9" in link
        assert 'credential="hush-hush"' in link
        one.send_signal(signal.SIGINT)
        assert one.wait(30) == 0
        assert manager.recv(4096) == b"STOPPING=1"
        assert "open https://" in said.read_text()
        assert said.read_text().count("pass phrase") == 1
        assert "fewer than 16 signs: others can guess it" in said.read_text()
        assert not re.search(r"sesame|hush", said.read_text())


async def test_addresses_places_and_memory_as_asked():
    sdp, kind = (await bare_offer()).encode(), {"Content-Type": "application/sdp"}

    def publish(url: str, address: str = "127.0.0.1") -> tuple[int, str]:
        where = url.removeprefix("http://")
        with contextlib.closing(HTTPConnection(where, timeout=20, source_address=(address, 0))) as connection:
            connection.request("POST", "/whip", sdp, kind)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    with program("--ice-address", "127.0.0.1", "--max-peers", 1) as (url, _, _):
        status, answer = publish(url)
        full, why = publish(url, "127.0.0.2")
        assert (full, "takes 1 sessions" in why) == (503, True)
        candidates = [line for line in answer.splitlines() if line.startswith("a=candidate")]
        assert status == 201
        assert candidates
        assert all(" 127.0.0.1 " in line for line in candidates)
    with program("--memory-mb", 1) as (url, _, _):
        status, answer = publish(url)
        assert status == 503
        assert "more than 1 MB" in answer


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--ice-address", "here"], "--ice-address here"),
        (["--ice-server", "stun.example.org"], "stun:"),
        (["--tls-cert", "cert.pem"], "both"),
        (["--memory-mb", "0"], "memory-mb"),
        (["--allow-origin", "*"], "give a --token"),
        # Said before the models, which are not there, are loaded.
        (["Tänzerin=synthetic:", "--model", "none.onnx"], "'Tänzerin' is no name here"),
        (["--host", "nosuch.invalid", "--token", "env:HOME", "--model", "none.onnx"], "listen on nosuch.invalid:"),
        (["--port", "47613", "--metrics", "47613", "--model", "none.onnx"], "cannot listen on 127.0.0.1:47613"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(command, options: list[str], words: str):  # noqa: F811
    code, _, err = command("serve", *options)
    assert code in {1, 2}
    assert words in " ".join(err.split())
    assert "Traceback" not in err


async def test_what_has_no_name_gets_one_that_a_url_can_have(tmp_path: Path):
    pictures = [tmp_path / name for name in ("Tänzerin.jpg", "舞.jpg", f"_{'x' * 90}.jpg")]
    for path in pictures:
        cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    with program(*pictures, *pictures[1:2]) as (url, _, _):
        _, _, text = ask(f"{url}/api/streams")
    assert [one["id"] for one in json.loads(text)["streams"]] == ["Tanzerin", "stream", "x" * 56, "stream-2"]
