"""Files and folders that appear when they are whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from fakes import poses_of

from streampose import formats
from streampose.clip import Moment
from streampose.errors import SinkFailed, StreamposeError
from streampose.frame import StreamInfo
from streampose.offline.job import put
from streampose.sinks import CocoSink, SnapshotSink
from streampose.whole import appear, appear_folder

INFO = StreamInfo(width_px=64, height_px=48, time_base=Fraction(1, 25))


@pytest.mark.skipif(sys.platform == "win32", reason="has another limit")
def test_a_folder_that_cannot_take_the_place_of_another_is_told_with_its_name(tmp_path: Path):
    path, part = tmp_path / ("x" * 253), tmp_path / "part"  # with ".old" behind, its name would be too long
    path.mkdir()
    part.mkdir()
    with pytest.raises(SinkFailed, match=r"x{253} cannot be written: .*too long"):
        appear_folder(part, path, re.compile(""))
    assert path.exists()


@contextmanager
def shut(folder: Path) -> Iterator[None]:
    """While it lasts, nobody may look into a folder: not root either."""
    user = os.geteuid()
    folder.chmod(0)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="keeps folders to oneself in another way")
@pytest.mark.parametrize(
    "use",
    [
        lambda folder: SnapshotSink(folder / "o.jpg").open("s", INFO),
        lambda folder: CocoSink(folder / "o.json").open("s", INFO),
        lambda folder: formats.write(folder / "o.csv", []),
        lambda folder: formats.write(folder / "o.openpose", []),
        lambda folder: put(folder / "state.json", b""),
    ],
    ids=["snapshot", "coco", "file", "folder", "state"],
)
def test_a_folder_that_may_not_be_looked_into_is_told(use, tmp_path: Path):
    with shut(tmp_path), pytest.raises(StreamposeError, match=r"cannot be written: Permission denied"):
        use(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes links of another's")
@pytest.mark.parametrize(("mode", "owner", "taken"), [(0o1777, 65534, False), (0o755, 65534, True), (0o1777, 0, True)])
def test_another_users_link_in_a_folder_of_everybodys_is_not_followed(
    mode: int, owner: int, taken: bool, tmp_path: Path
):
    (folder := tmp_path / "everybodys").mkdir()
    folder.chmod(mode)
    (mine := tmp_path / "mine.csv").write_text("precious")
    (link := folder / "o.csv").symlink_to(mine)
    os.lchown(link, owner, -1)
    if taken:
        formats.write(link, [])
    else:
        with pytest.raises(SinkFailed, match=r"o\.csv cannot be written: it is another user's link"):
            formats.write(link, [])
    assert (mine.read_text() == "precious") is not taken
    assert link.is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="has no /dev/stdout")
@pytest.mark.parametrize("number", [1, 2])
def test_a_standard_stream_that_goes_into_a_file_gets_it_added(number: int, tmp_path: Path):
    path = tmp_path / "all.csv"
    path.write_bytes(b"before\n")
    inode, kept = path.stat().st_ino, os.dup(number)
    moment = Moment(stream="s", index=0, pts=0, time_base=Fraction(1, 25), size_px=(64, 48), poses=poses_of(7))
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
        formats.write(f"/dev/fd/{number}", [moment], "csv")
        os.write(number, b"after\n")
    finally:
        os.dup2(kept, number)
        os.close(kept)
    formats.write(alone := tmp_path / "alone.csv", [moment])
    assert alone.stat().st_size > 100
    assert path.read_bytes() == b"before\n" + alone.read_bytes() + b"after\n"
    assert path.stat().st_ino == inode
    assert {p.name for p in tmp_path.iterdir()} == {"all.csv", "alone.csv"}


@pytest.mark.skipif(sys.platform == "win32", reason="does not sync folders")
def test_what_has_its_name_is_on_the_disk_and_so_is_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[int | str] = []
    replace = Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: steps.append(os.fstat(file).st_ino))
    monkeypatch.setattr(Path, "replace", lambda self, to: (steps.append("named"), replace(self, to)))
    (file := tmp_path / "o.csv.part").write_text("x")
    (folder := tmp_path / "o.part").mkdir()
    (inside := folder / "1.json").write_text("x")
    numbers = {path: path.stat().st_ino for path in (file, folder, inside, tmp_path)}
    appear(file, tmp_path / "o.csv")
    appear(folder, tmp_path / "o")
    ends = "named", numbers[tmp_path]
    assert steps == [numbers[file], *ends, numbers[inside], numbers[folder], *ends]
    assert [(tmp_path / "o.csv").read_text(), (tmp_path / "o" / "1.json").read_text()] == ["x", "x"]
