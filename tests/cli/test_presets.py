"""Presets and the template that `streampose config` writes: each option in it is one that a command has."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest
from test_run import clip, command, lines, models  # noqa: F401 - fixtures

from streampose.cli.presets import PRESETS
from streampose.cli.process import process_command
from streampose.cli.run import run
from streampose.cli.template import template


def test_the_template_is_a_file_that_both_commands_take(command, models, clip: Path, tmp_path: Path):  # noqa: F811
    file = tmp_path / "streampose.toml"
    assert command("config", file)[0] == 0
    assert command("config", file)[0] == 1  # never overwritten silently
    for text in (template("balanced"), *map(template, PRESETS)):
        file.write_text(text)
        assert command("run", clip, *models, "--config", file, "--json", tmp_path / "a.jsonl")[0] == 0
        assert len(lines(tmp_path / "a.jsonl")) == 30
        assert command("process", clip, *models, "--config", file, "-o", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("name", PRESETS)
def test_the_template_says_what_its_preset_does(name: str):
    said = {key.replace("-", "_"): value for key, value in tomllib.loads(template(name)).items()}
    # As texts: 1 and true are equal.
    assert {key: repr(value) for key, value in said.items()} == {key: repr(v) for key, v in PRESETS[name].items()}


def test_every_line_of_the_template_can_be_put_in_force(command, models, clip: Path, tmp_path: Path):  # noqa: F811
    text = re.sub(r"^# (?=[a-z0-9-]+ = )", "", template("balanced"), flags=re.MULTILINE)
    # Of these there are several, or none here.
    for key in ("model", "detector", "pose", "family", "detector-family", "skeleton", "person"):
        text = re.sub(rf"^{key} = .*$", "", text, flags=re.MULTILINE)
    text = text.replace('detector-size = "640x384"', 'detector-size = "64"')
    assert len(tomllib.loads(text)) > 15
    (tmp_path / "all.toml").write_text(text)
    assert command("run", clip, *models, "--config", tmp_path / "all.toml")[0] == 0
    code, _, err = command("process", clip, *models, "--config", tmp_path / "all.toml", "-o", tmp_path / "out")
    assert (code, "error" in err) == (0, False)


def test_the_defaults_in_the_template_are_the_defaults():
    said = tomllib.loads(re.sub(r"^# (?=[a-z0-9-]+ = )", "", template("balanced"), flags=re.MULTILINE))
    known = {p.name: p.default for f in (process_command, run) for p in inspect.signature(f).parameters.values()}
    free = {"model", "detector", "pose", "family", "detector-family", "skeleton", "detector-size"}
    free |= {"sessions", "threads", "at-once", "in-graph", "rect", "person"}
    names = {"fp16": "half"}
    for key, value in said.items():
        if key not in free:
            default = known[names.get(key, key.replace("-", "_"))]
            assert default in (value, None) if key == "batch" else default == value, key


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_options_that_there_are(name: str):
    known = {p for f in (process_command, run) for p in inspect.signature(f).parameters}
    assert PRESETS[name].keys() <= known


def test_what_is_said_goes_before_the_preset(command, models, clip: Path, tmp_path: Path):  # noqa: F811
    out = tmp_path / "out"
    arguments = ["process", clip, *models, "-o", out, "--preset"]
    assert command(*arguments, "accurate", "--fill", "1s")[0] == 0
    assert (out / "clip.report.json").exists()
    assert json.loads((out / "clip.report.json").read_text())["people"] == []
    code, _, err = command(*arguments, "reckless")
    assert code == 2
    assert "low-memory" in err
