from __future__ import annotations

import threading
from pathlib import Path

import pytest
from test_download import BODY, SHA, Server, archive, server  # noqa: F401 - the fixture

from streampose.errors import ChecksumMismatch, ModelNotFound
from streampose.inference import zoo
from streampose.inference.family import FAMILIES
from streampose.skeletons import SKELETONS


def test_every_entry_is_complete_and_honest():
    assert len(zoo.entries()) >= 20
    for entry in zoo.entries().values():
        assert entry.family in FAMILIES
        assert entry.kind in {"detector", "keypoints", "one-stage"}
        assert entry.skeleton is None or entry.skeleton in SKELETONS
        assert entry.url.startswith("https://")
        assert entry.licence
        assert entry.listed_in
        assert entry.sha256 is None or len(entry.sha256) == 64
    for name in (
        "rtmpose-t",
        "rtmpose-s",
        "rtmpose-m",
        "rtmpose-l",
        "rtmo-s",
        "rtmo-m",
        "rtmo-l",
        "vitpose-b",
        "dwpose-l",
    ):
        assert name in zoo.entries()


def test_a_path_is_a_path_and_a_name_must_be_pulled(tmp_path: Path):
    file = tmp_path / "my.onnx"
    file.touch()
    assert zoo.find(file).path == file
    with pytest.raises(ModelNotFound, match="streampose models pull rtmo-s"):
        zoo.find("rtmo-s", tmp_path)
    with pytest.raises(ModelNotFound, match="did you mean rtmo-"):
        zoo.find("rtmos", tmp_path)
    with pytest.raises(ModelNotFound, match="no model file at"):
        zoo.find("models/rtmo.onnx", tmp_path)


def test_pull_finds_and_keeps(server: Server, tmp_path: Path):  # noqa: F811
    path = zoo.pull("yolox-tiny", tmp_path, url=server.url)
    assert path.read_bytes() == BODY
    assert zoo.find("yolox-tiny", tmp_path) == zoo.Found(path=path, family="yolox", skeleton=None)
    zoo.pull("yolox-tiny", tmp_path, url=server.url)
    assert len(server.requests) == 1, "it was fetched twice"


def test_an_archive_is_unpacked(server: Server, tmp_path: Path):  # noqa: F811
    server.body = archive(tmp_path / "a.zip", {"x/end2end.onnx": b"weights"}).read_bytes()
    path = zoo.pull("rtmpose-t", tmp_path / "cache", url=server.url.replace("model.onnx", "a.zip"))
    assert path.read_bytes() == b"weights"
    assert not list((tmp_path / "cache").glob("*.zip*"))


def test_the_first_download_is_trusted_and_then_enforced(server: Server, tmp_path: Path):  # noqa: F811
    zoo.pull("yolox-tiny", tmp_path, url=server.url)
    assert zoo.remove("yolox-tiny", tmp_path)
    server.body, server.etag = b"other weights", '"v2"'
    with pytest.raises(ChecksumMismatch):
        zoo.pull("yolox-tiny", tmp_path, url=server.url)
    assert zoo.cached("yolox-tiny", tmp_path) is None
    zoo.remove("yolox-tiny", tmp_path, forget=True)
    assert zoo.pull("yolox-tiny", tmp_path, url=server.url).read_bytes() == b"other weights"


def test_a_checksum_of_the_zoo_is_enforced(server: Server, tmp_path: Path):  # noqa: F811
    assert zoo.entry("yolox-nano").sha256 not in {None, SHA}
    with pytest.raises(ChecksumMismatch):
        zoo.pull("yolox-nano", tmp_path, url=server.url)


def test_a_damaged_file_is_noticed(server: Server, tmp_path: Path):  # noqa: F811
    path = zoo.pull("yolox-tiny", tmp_path, url=server.url)
    path.write_bytes(BODY[:-1] + b"!")
    with pytest.raises(ChecksumMismatch, match="models remove yolox-tiny"):
        zoo.find("yolox-tiny", tmp_path)


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path):  # noqa: F811
    threads = [
        threading.Thread(target=zoo.pull, args=("yolox-tiny", tmp_path), kwargs={"url": server.url}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert zoo.find("yolox-tiny", tmp_path).path.read_bytes() == BODY
    assert len(server.requests) == 1
