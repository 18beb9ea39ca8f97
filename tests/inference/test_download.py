"""Downloads against a real server on loopback that can cut, lie, crawl and change its mind."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from streampose.errors import ChecksumMismatch, ConfigError, DownloadError
from streampose.inference.download import download, extract_onnx


def model_of(weights: bytes) -> bytes:
    """An ONNX model that gives these."""
    tensor = helper.make_tensor("w", TensorProto.UINT8, [len(weights)], weights, raw=True)
    given = helper.make_tensor_value_info("given", TensorProto.UINT8, [len(weights)])
    node = helper.make_node("Identity", ["w"], ["given"])
    return helper.make_model(helper.make_graph([node], "m", [], [given], [tensor])).SerializeToString()


BODY = model_of(bytes(range(248)) * 2000)
SHA = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.ranges = BODY, '"v1"', True
        self.cut_at: list[int] = []  # one connection each
        self.status: list[int] = []  # one answer each
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.onnx"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/model.onnx")
            self.end_headers()
            return
        if server.status and (status := server.status.pop(0)) != 200:
            self.send_error(status)
            return
        start = 0
        wanted = self.headers.get("range")
        if server.ranges and wanted and self.headers.get("if-range") == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("content-range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        else:
            self.send_response(200)
        body = server.body[start:]
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", server.etag)
        self.end_headers()
        if server.cut_at:
            body = body[: server.cut_at.pop(0)]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: Server, target: Path, **options) -> str:
    return download(server.url, target, pause_s=0.001, timeout_s=5, **options)


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_comes_whole_and_leaves_nothing_else(server: Server, tmp_path: Path):
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "m.onnx"
    assert fetch(server, target, sha256=SHA, progress=lambda *p: seen.append(p)) == SHA
    assert target.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert leftovers(tmp_path) == ["m.onnx"]


def test_redirects_are_followed(server: Server, tmp_path: Path):
    target = tmp_path / "m.onnx"
    download(server.url.replace("model.onnx", "moved"), target, pause_s=0.001)
    assert target.read_bytes() == BODY


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path, cuts: list[int]):
    server.cut_at, server.requests = list(cuts), []
    target = tmp_path / "m.onnx"
    target.unlink(missing_ok=True)
    fetch(server, target, sha256=SHA)
    assert target.read_bytes() == BODY
    if len(cuts) == 1 and 0 < cuts[0] < len(BODY):
        assert server.requests[1]["range"] == f"bytes={cuts[0]}-"


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path):
    target = tmp_path / "m.onnx"
    server.cut_at, server.status = [1000], [200, 404]
    with pytest.raises(DownloadError, match="404"):
        fetch(server, target)
    assert not target.exists()
    fetch(server, target, sha256=SHA)
    assert server.requests[-1]["range"] == "bytes=1000-"


@pytest.mark.parametrize("notes", ["[]", "1", '{"url": 5}', '{"url": "URL", "validator": 5}', '{"url": "URL"}'])
def test_damaged_notes_of_an_earlier_run_are_no_reason_to_go_on(server: Server, tmp_path: Path, notes: str):
    (tmp_path / "m.onnx.part").write_bytes(b"half")
    (tmp_path / "m.onnx.part.json").write_text(notes.replace("URL", server.url))
    assert fetch(server, tmp_path / "m.onnx") == SHA
    assert leftovers(tmp_path) == ["m.onnx"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path):
    server.ranges, server.cut_at = False, [1000]
    fetch(server, tmp_path / "m.onnx", sha256=SHA)


def test_a_file_that_changed_in_between_is_not_mixed(server: Server, tmp_path: Path):
    target = tmp_path / "m.onnx"
    server.cut_at, server.status = [1000], [200, 404]
    with pytest.raises(DownloadError):
        fetch(server, target)
    server.body, server.etag = b"new" * 5000, '"v2"'
    fetch(server, target)
    assert target.read_bytes() == server.body


class Careless(Handler):
    """Answers a range whatever `If-Range` says; `shift` = another range than was asked for."""

    shift = 0

    def do_GET(self) -> None:
        server = self.server
        start = 0
        if wanted := self.headers.get("range"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + self.shift
            self.send_response(206)
            self.send_header("content-range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        else:
            self.send_response(200)
        body = server.body[start:]
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", server.etag)
        self.end_headers()
        if server.cut_at:
            self.wfile.write(body[: server.cut_at.pop(0)])
            server.body, server.etag = server.body[::-1], '"v2"'
        else:
            self.wfile.write(body)


class Shifted(Careless):
    shift = -10


@pytest.mark.parametrize("handler", [Careless, Shifted])
def test_a_careless_server_does_not_mix_two_files(server: Server, tmp_path: Path, handler: type[Handler]):
    server.RequestHandlerClass = handler
    server.cut_at = [1000]
    fetch(server, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == server.body


def test_a_file_that_was_whole_before_the_last_step_is_not_fetched_again(server: Server, tmp_path: Path):
    class Exact(Handler):
        def do_GET(self) -> None:
            if self.headers.get("range") != f"bytes={len(BODY)}-":
                return super().do_GET()
            self.send_response(416)
            self.send_header("content-range", f"bytes */{len(BODY)}")
            self.send_header("content-length", "0")
            return self.end_headers()

    server.RequestHandlerClass = Exact
    server.cut_at, server.status = [1000], [200, 404]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "m.onnx")
    (tmp_path / "m.onnx.part").write_bytes(BODY)
    asked = len(server.requests)
    assert fetch(server, tmp_path / "m.onnx") == SHA
    assert len(server.requests) == asked
    assert leftovers(tmp_path) == ["m.onnx"]


def test_compressed_though_it_was_asked_not_to(server: Server, tmp_path: Path):
    class Zipping(Handler):
        def do_GET(self) -> None:
            body = gzip.compress(BODY)
            self.send_response(200)
            self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server.RequestHandlerClass = Zipping
    with pytest.raises(DownloadError, match="compressed"):
        fetch(server, tmp_path / "m.onnx")


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path):
    done = threading.Event()

    class Silent(Handler):
        def do_GET(self) -> None:
            done.wait(10)

    server.RequestHandlerClass = Silent
    try:
        with pytest.raises(DownloadError, match=r"cannot be fetched: .*[Tt]ime.*; .*--url"):
            download(server.url, tmp_path / "m.onnx", timeout_s=0.05, pause_s=0.001)
    finally:
        done.set()


def test_a_redirect_to_another_protocol_is_final(server: Server, tmp_path: Path):
    class Away(Handler):
        def do_GET(self) -> None:
            self.server.requests.append({})
            self.send_response(302)
            self.send_header("location", "ftp://user:secret@127.0.0.1/m.onnx")
            self.send_header("content-length", "0")
            self.end_headers()

    server.RequestHandlerClass = Away
    with pytest.raises(DownloadError, match="protocol") as caught:
        fetch(server, tmp_path / "m.onnx")
    assert len(server.requests) == 1
    assert "secret" not in str(caught.value)


def test_a_stop_keeps_what_is_there(server: Server, tmp_path: Path):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "m.onnx", progress=stop)
    there = (tmp_path / "m.onnx.part").stat().st_size
    assert there > 0
    fetch(server, tmp_path / "m.onnx", sha256=SHA)
    assert server.requests[-1]["range"] == f"bytes={there}-"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux")
def test_a_full_disk_is_said(server: Server, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        with pytest.raises(DownloadError, match="cannot be written: No space left"):
            fetch(server, small / "m.onnx")
        assert not (small / "m.onnx").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_passing_trouble_is_tried_again_but_not_for_ever(server: Server, tmp_path: Path):
    server.status = [503, 500, 429]
    fetch(server, tmp_path / "m.onnx", sha256=SHA)
    server.status = [503] * 9
    with pytest.raises(DownloadError, match="503; --url names"):
        fetch(server, tmp_path / "n.onnx")
    assert len(server.status) == 4


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_final_answers_are_not_tried_again(server: Server, tmp_path: Path, status: int):
    server.status = [status]
    with pytest.raises(DownloadError, match=str(status)):
        fetch(server, tmp_path / "m.onnx")
    assert len(server.requests) == 1


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path):
    with pytest.raises(ChecksumMismatch, match="changed or damaged"):
        fetch(server, tmp_path / "m.onnx", sha256="0" * 64)
    assert leftovers(tmp_path) == []


def test_other_protocols_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="http"):
        download("file:///etc/passwd", tmp_path / "m.onnx")


def test_nobody_there(tmp_path: Path):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1"):
        download("http://user:secret@127.0.0.1:9/m.onnx?token=hidden", tmp_path / "m.onnx", pause_s=0.001)


def test_secrets_are_not_in_messages(tmp_path: Path):
    with pytest.raises(DownloadError) as caught:
        download("http://user:secret@127.0.0.1:9/m.onnx?token=hidden", tmp_path / "m.onnx", pause_s=0.001)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


def test_the_model_of_an_archive_is_taken_whatever_its_path(tmp_path: Path):
    packed = archive(tmp_path / "a.zip", {"../../evil/end2end.onnx": b"model", "deploy.json": b"{}"})
    (tmp_path / "out").mkdir()
    extract_onnx(packed, tmp_path / "out" / "m.onnx")
    assert (tmp_path / "out" / "m.onnx").read_bytes() == b"model"
    assert leftovers(tmp_path / "out") == ["m.onnx"]
    assert leftovers(tmp_path) == ["a.zip", "out"]


@pytest.mark.parametrize(
    ("files", "words"),
    [({}, "0 ONNX"), ({"a.onnx": b"", "b.onnx": b""}, "2 ONNX"), ({"a.onnx": bytes(200 << 20)}, "would unpack")],
)
def test_archives_that_are_not_what_they_should_be(tmp_path: Path, files: dict[str, bytes], words: str):
    packed = archive(tmp_path / "a.zip", files)
    with pytest.raises(DownloadError, match=words):
        extract_onnx(packed, tmp_path / "m.onnx")
    assert leftovers(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_packing_is_refused_in_one_line(tmp_path: Path, method: int):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as opened:
        opened.writestr("m.onnx", BODY)
    with pytest.raises(DownloadError, match="unpack it"):
        extract_onnx(tmp_path / "a.zip", tmp_path / "m.onnx")


def test_garbage_is_not_an_archive(tmp_path: Path):
    good = io.BytesIO()
    with zipfile.ZipFile(good, "w") as opened:
        opened.writestr("m.onnx", BODY)
    named = archive(tmp_path / "named.zip", {"m.onnx": BODY, "é.json": b"{}"}).read_bytes()
    for data in (b"<html>not found</html>", good.getvalue()[:-100], named.replace("é".encode(), b"\xff\xff")):
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(DownloadError, match="not a zip archive"):
            extract_onnx(tmp_path / "a.zip", tmp_path / "m.onnx")
