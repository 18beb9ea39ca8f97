from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.cli.references import resolve
from streampose.errors import ConfigError
from streampose.redaction import redact, server_of


@given(secret=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_password_survives_the_url_and_is_never_shown(secret: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAM_PASSWORD", secret)
        url = resolve("rtsp://me:{env:CAM_PASSWORD}@host/path")
    assert unquote(urlsplit(url).password or "") == secret
    assert urlsplit(url).hostname == "host"
    assert redact(url) == "rtsp://***@host/path"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example:8443/services/T0P?code=T0P#T0P", "https://hooks.example:8443"),
        ("mqtts://me:T0P@[::1]:8883/x", "mqtts://[::1]:8883"),
        ("redis://user:12?T0P=x@host/0", "redis://host"),
        ("http://me:T0P a@host/x", "http://***"),
        ("http://T0P secret", "http://***"),
        ("T0P", "***"),
    ],
)
def test_of_an_output_only_its_server_is_shown(url: str, shown: str):
    assert server_of(url) == shown


def test_files_and_whole_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for written in (b"p@ss/word\n", b"\xef\xbb\xbfp@ss/word\r\n"):  # as Windows' editors write it, too
        (tmp_path / "cam").write_bytes(written)
        assert resolve(f"rtsp://me:{{file:{tmp_path}/cam}}@h/x") == "rtsp://me:p%40ss%2Fword@h/x"
    monkeypatch.setenv("CAM_URL", "rtsp://a:b@h/x")
    assert resolve("{env:CAM_URL}") == "rtsp://a:b@h/x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rtsp://{env:NO_SUCH_VARIABLE}@h/", "variable NO_SUCH_VARIABLE is not set"),
        ("rtsp://{file:/none/at/all}@h/", "file /none/at/all cannot be read"),
        ("rtsp://{evn:X}@h/", "kind 'evn'"),
    ],
)
def test_what_is_missing_is_named(text: str, words: str):
    with pytest.raises(ConfigError, match=words):
        resolve(text)
