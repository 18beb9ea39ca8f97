from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_download import BODY, SHA, Server, archive, model_of, server  # noqa: F401 - the fixture

from streampose.errors import ChecksumMismatch, ConfigError, DownloadError, ModelNotFound, ModelUnreadable
from streampose.inference import zoo
from streampose.inference.family import FAMILIES
from streampose.skeletons import SKELETONS


def test_every_entry_is_complete_and_honest():
    assert len(zoo.entries()) >= 20
    for entry in zoo.entries().values():
        if entry.name == zoo.NANO:
            continue
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
        "rtmdet-nano",
        "rtmdet-m",
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
    for name, meant in (("RTMO-S", "rtmo-s"), ("nano", "streampose-nano"), ("Tiny-HumanArt", "yolox-tiny-humanart")):
        with pytest.raises(ModelNotFound, match=f"called '{name}'; did you mean {meant}"):
            zoo.entry(name)
    with pytest.raises(ModelNotFound, match="did you mean rtmo-"):
        zoo.find("rtmos", tmp_path)
    with pytest.raises(ModelNotFound, match="no model file at"):
        zoo.find("models/rtmo.onnx", tmp_path)


def test_nano_is_part_of_the_package(tmp_path: Path):
    files = [zoo.find(zoo.NANO, tmp_path, kind=kind).path for kind in ("detector", "keypoints")]
    assert all(file.stat().st_size <= 4_000_000 for file in files)
    assert zoo.cached(zoo.NANO, tmp_path) == zoo.pull(zoo.NANO, tmp_path) == files[0].parent
    with pytest.raises(ConfigError, match="not a one-stage model"):
        zoo.find(zoo.NANO, tmp_path)
    with pytest.raises(ConfigError, match="part of the package"):
        zoo.remove(zoo.NANO, tmp_path)


def test_pull_finds_and_keeps(server: Server, tmp_path: Path):  # noqa: F811
    path = zoo.pull("yolox-m", tmp_path, url=server.url)
    assert path.read_bytes() == BODY
    assert zoo.find("yolox-m", tmp_path) == zoo.Found(path=path, family="yolox", skeleton=None)
    zoo.pull("yolox-m", tmp_path, url=server.url)
    assert len(server.requests) == 1, "it was fetched twice"


@pytest.mark.parametrize("address", ["a.zip", "get?id=5", "a.zip#x"])
@pytest.mark.parametrize("begin", [b"", b"MZ of one that unpacks itself"])
def test_an_archive_is_unpacked(server: Server, tmp_path: Path, address: str, begin: bytes):  # noqa: F811
    packed = {"x/end2end.onnx": BODY, "__MACOSX/x/._end2end.onnx": b"attributes", "x/._end2end.onnx": b"more"}
    server.body = begin + archive(tmp_path / "a.zip", packed).read_bytes()
    url = server.url.replace("model.onnx", address).replace("http", "HTTP")
    path = zoo.pull("rtmpose-t", tmp_path / "cache", url=url)
    assert path.read_bytes() == BODY
    assert not list((tmp_path / "cache").glob("*.zip*"))


def test_an_archive_that_was_cut_short_is_no_web_page(server: Server, tmp_path: Path):  # noqa: F811
    server.body = archive(tmp_path / "a.zip", {"end2end.onnx": BODY}).read_bytes()[:-20]
    with pytest.raises(DownloadError, match="is not a zip archive that can be read"):
        zoo.pull("rtmpose-t", tmp_path / "cache", url=server.url)


def test_a_folder_that_nobody_may_look_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As one of mode 0 of another user, which root can look into."""

    def refused(path: Path, **_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "yolox-m.json").write_text(json.dumps({"sha256": SHA, "state": [1, 2]}))
    monkeypatch.setattr(Path, "is_file", refused)
    monkeypatch.setattr(Path, "exists", refused)
    told = rf"{re.escape(str(tmp_path))}/yolox-m\.onnx cannot be (read|deleted): Permission denied"
    with pytest.raises(ModelUnreadable, match=told):
        zoo.find(tmp_path / "yolox-m.onnx")
    for call in (zoo.cached, zoo.remove):
        with pytest.raises(DownloadError, match=told):
            call("yolox-m", tmp_path)


def test_the_first_download_is_trusted_and_then_enforced(server: Server, tmp_path: Path):  # noqa: F811
    zoo.pull("yolox-m", tmp_path, url=server.url)
    assert zoo.remove("yolox-m", tmp_path)
    server.body, server.etag = model_of(b"other weights"), '"v2"'
    with pytest.raises(ChecksumMismatch, match="models remove --forget yolox-m"):
        zoo.pull("yolox-m", tmp_path, url=server.url)
    assert zoo.cached("yolox-m", tmp_path) is None
    zoo.remove("yolox-m", tmp_path, forget=True)
    assert zoo.pull("yolox-m", tmp_path, url=server.url).read_bytes() == server.body


def test_a_checksum_of_the_zoo_is_enforced(server: Server, tmp_path: Path):  # noqa: F811
    assert zoo.entry("yolox-nano").sha256 not in {None, SHA}
    with pytest.raises(ChecksumMismatch):
        zoo.pull("yolox-nano", tmp_path, url=server.url)


def test_a_damaged_file_is_noticed(server: Server, tmp_path: Path):  # noqa: F811
    path = zoo.pull("yolox-m", tmp_path, url=server.url)
    path.write_bytes(BODY[:-1] + b"!")
    with pytest.raises(ChecksumMismatch, match="models remove yolox-m"):
        zoo.find("yolox-m", tmp_path)


@pytest.mark.parametrize("page", [b"", b"<!DOCTYPE html>sign in", b"version https://git-lfs.github.com/spec/v1"])
def test_a_page_is_never_trusted(server: Server, tmp_path: Path, page: bytes):  # noqa: F811
    server.body, server.etag = page, '"page"'
    with pytest.raises(DownloadError, match="no ONNX model"):
        zoo.pull("yolox-m", tmp_path, url=server.url)
    server.body, server.etag = BODY, '"v1"'
    assert zoo.pull("yolox-m", tmp_path, url=server.url).read_bytes() == BODY


@pytest.mark.parametrize("share", [0.002, 0.5, 0.99999])
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_that_is_cut_short_is_never_trusted(server: Server, tmp_path: Path, share: float, packed: bool):  # noqa: F811
    """As it comes from a server that says no length and hangs up, or from an archive that was made of such a file."""
    cut = BODY[: int(len(BODY) * share)]
    url, folder = server.url, tmp_path / "cache"
    if packed:
        cut, url = archive(tmp_path / "a.zip", {"m.onnx": cut}).read_bytes(), url.replace("model.onnx", "a.zip")
    server.body, server.etag = cut, '"cut"'
    with pytest.raises(DownloadError, match=r"no whole ONNX model \(cut short\?\), and it was not kept"):
        zoo.pull("yolox-m", folder, url=url)
    assert zoo.cached("yolox-m", folder) is None
    server.body, server.etag = BODY, '"v1"'
    assert zoo.pull("yolox-m", folder, url=server.url).read_bytes() == BODY


def test_a_mirror_may_give_the_model_unpacked_but_no_other(server: Server, tmp_path: Path):  # noqa: F811
    server.body = archive(tmp_path / "a.zip", {"end2end.onnx": BODY}).read_bytes()
    folder = tmp_path / "cache"
    zoo.pull("rtmpose-t", folder, url=server.url.replace("model.onnx", "a.zip"))
    zoo.remove("rtmpose-t", folder)
    server.body, server.etag = BODY, '"bare"'
    assert zoo.pull("rtmpose-t", folder, url=server.url).read_bytes() == BODY
    zoo.remove("rtmpose-t", folder)
    server.body, server.etag = model_of(b"other weights"), '"other"'
    with pytest.raises(ChecksumMismatch):
        zoo.pull("rtmpose-t", folder, url=server.url)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": "x"}'])
def test_a_damaged_record_is_no_reason_to_trust_anew(server: Server, tmp_path: Path, text: str):  # noqa: F811
    zoo.pull("yolox-m", tmp_path, url=server.url)
    (tmp_path / "yolox-m.json").write_text(text)
    for act in (zoo.cached, zoo.pull):
        with pytest.raises(ChecksumMismatch, match="models remove --forget yolox-m"):
            act("yolox-m", tmp_path)
    zoo.remove("yolox-m", tmp_path, forget=True)
    zoo.pull("yolox-m", tmp_path, url=server.url)


def test_what_cannot_be_read_or_deleted_is_said_in_a_line(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    for act in (zoo.cached, zoo.find):
        with pytest.raises(DownloadError, match=r"file/yolox-m\.json cannot be read: Not a directory"):
            act("yolox-m", file)
    with pytest.raises(DownloadError, match=r"file/yolox-m\.onnx cannot be deleted: Not a directory"):
        zoo.remove("yolox-m", file)
    (tmp_path / "yolox-m.json").mkdir()
    with pytest.raises(DownloadError, match=r"yolox-m\.json cannot be read: Is a directory"):
        zoo.cached("yolox-m", tmp_path)
    with pytest.raises(DownloadError, match=r"yolox-m\.json cannot be deleted: "):
        zoo.remove("yolox-m", tmp_path, forget=True)


def test_two_processes_at_once_fetch_it_once(server: Server, tmp_path: Path):  # noqa: F811
    code = f"from streampose.inference import zoo; import pathlib; zoo.pull('yolox-m', pathlib.Path({str(tmp_path)!r}), url={server.url!r})"  # noqa: E501
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert zoo.find("yolox-m", tmp_path).path.read_bytes() == BODY
    assert len(server.requests) == 1


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path):  # noqa: F811
    threads = [
        threading.Thread(target=zoo.pull, args=("yolox-m", tmp_path), kwargs={"url": server.url}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert zoo.find("yolox-m", tmp_path).path.read_bytes() == BODY
    assert len(server.requests) == 1
