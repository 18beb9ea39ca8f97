"""What `streampose models` says when something is not as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_download import Server, server  # noqa: F401 - the fixture
from typer.testing import CliRunner

from streampose.cli.models import models
from streampose.inference import zoo


def call(*arguments: object) -> str:
    result = CliRunner().invoke(models, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def damaged(server: Server, tmp_path: Path) -> Path:  # noqa: F811
    zoo.pull("yolox-m", tmp_path, url=server.url).write_bytes(b"damaged")
    return tmp_path


def test_one_damaged_file_hides_no_other_model(damaged: Path):
    rows = {row["name"]: row for row in json.loads(call("list", "--json", "--cache-dir", damaged))}
    assert rows.keys() == zoo.entries().keys()
    assert rows["yolox-m"]["here"] == "damaged"
    assert rows["yolox-m"]["file"] is None
    assert "damaged" in call("list", "--cache-dir", damaged)
    assert "damaged" in call("show", "yolox-m", "--cache-dir", damaged)


def test_names_are_whole_in_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = call("list", "--cache-dir", tmp_path).split()
    assert set(zoo.entries()) <= set(shown)


def test_where_nobody_looks_on_a_download_leaves_no_empty_line(server: Server, tmp_path: Path):  # noqa: F811
    arguments = ["pull", "yolox-m", "--url", server.url, "--cache-dir", str(tmp_path)]
    result = CliRunner().invoke(models, arguments)
    assert result.exit_code == 0, result.output
    assert "" not in result.stderr.splitlines()
    assert Path(result.stdout.strip()).is_file()


def test_a_mirror_is_for_one_model():
    result = CliRunner().invoke(models, ["pull", "rtmo-s", "rtmo-m", "--url", "http://127.0.0.1:9/x.onnx"])
    assert result.exit_code == 2
