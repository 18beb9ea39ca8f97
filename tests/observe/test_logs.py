"""No password in any log line, and lines that machines can read."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from servers.rtsp import RtspServer, has_gstreamer

from streampose.cli import say
from streampose.observe.logs import JsonFormatter, TextFormatter, clean_records
from streampose.redaction import redact

rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")

# What people have as passwords, unescaped: everything that is not a space.
PASSWORDS = st.text(st.characters(min_codepoint=33, exclude_categories=("Z", "C")), min_size=3, max_size=12).map(
    lambda text: f"geheim{text}"
)
ODD = [
    "geheim@x",
    "geheim/x",
    "geheim#?&=",
    "geheim:%40",
    "gehe:im//x@y",
    "geheim'\"<>",
    "geheim\\x",
    "geheim\N{GRINNING FACE}%s{}",
]


@given(PASSWORDS)
@example("geheim/1")
@example("gehe%s{}@im")
def test_a_password_of_any_characters_is_gone_from_any_text(password: str):
    text = redact(f"cannot open rtsp://admin:{password}@10.0.0.5:554/live (tried twice)")
    assert text == "cannot open rtsp://***@10.0.0.5:554/live (tried twice)"


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://h:554/user=admin_password={}_channel=1_stream=0.sdp?real_stream",
        "rtsp://h:554/user=admin&password={}&channel=1&stream=0.sdp?",
        "rtsp://h/user=admin_password={}",
        "rtsp://h/user=admin/b_password={}_channel=1",
        "http://h/videostream.cgi?loginuse=admin&loginpas={}&resolution=32",
        "http://h/x?usr=admin&passw={}",
        "http://h/x?usr=admin&PSW={}&n=1",
        "http://h/x?_user=admin&_pwd={}",
        "http://h/x?n=1;pw={}",
        "srt://h:9000?mode=caller&passphrase={}&latency=20",
    ],
)
@given(st.text(st.characters(min_codepoint=33, exclude_categories=("Z", "C"), exclude_characters="&#@"), max_size=9))
def test_where_cameras_have_their_passwords_they_are_cut_and_the_rest_is_not(url: str, odd: str):
    password = f"geheim{odd}heim"
    text = redact(f"cannot open {url.format(password)} (tried twice)")
    assert text == redact(f"cannot open {url.format('x')} (tried twice)")
    assert "geheim" not in text
    assert "admin" not in text
    for kept in ("channel=1", "stream=0.sdp", "resolution=32", "&n=1", "?n=1", "&latency=20", " (tried twice)"):
        assert (kept in text) == (kept in f"{url} (tried twice)")


TOKENS = """
    streamkey camkey licenseKey
    jwt auth_token X-Amz-Signature X-Amz-Security-Token SessionToken wmsAuthSign authToken access-token accesskey pin
    AWSAccessKeyId client_secret passcode userpwd sessionid authbasic userPass stream_key hdnts Authorization
    p u k code authCode sig hash md5 st sid otp tk tkn ticket bearer hmac cookie nonce policy login account
"""


@pytest.mark.parametrize("key", TOKENS.split())
def test_a_token_in_a_query_is_cut_and_the_rest_is_not(key: str):
    for begin in ("?", "?n=1&", "?n=1;", r"?n=1\u0026", "#"):
        url = f"rtsp://h/mystream{begin}{key}={{}}&profile=2"
        assert redact(url.format("geheim/x==")) == url.format("***")


@pytest.mark.parametrize("begin", ["?n=1&token=geheim", "#token=geheim", "?sig=geheim#geheim"])
def test_what_follows_a_token_and_is_no_parameter_is_of_it(begin: str):
    assert redact(f"http://h/x{begin}&geheim&geheim (tried)").endswith("=*** (tried)")
    assert ("geheim" in redact(f"http://h/x{begin}&n=geheim")) == ("#token" not in begin)


@pytest.mark.parametrize(
    "scheme",
    [
        "rtsp//",
        "rtsp:/",
        "Rtsp/",
        "https//",
        "rtmps:/",
        "rtsp:///",
        "rtsp;//",
        "rtsp:\\\\",
        "srt:",
        "turn:",
        "turns:",
        "stun:",
        "\\nrtsp:/",
        "%20rtsp:/",
    ],
)
def test_a_password_is_cut_where_a_sign_of_the_scheme_is_missing_or_another_one(scheme: str):
    assert redact(f"no file at {scheme}admin:gehe/im@h/live; did") == f"no file at {scheme}***@h/live; did"


@pytest.mark.parametrize(
    "address", ["10.0.0.5", "10.0.0.5/live", "camera:8554/live", "[::1]/live", "camera", "cam.example.org/x", "cam.lan"]
)
def test_a_password_is_cut_where_there_is_no_scheme(address: str):
    assert redact(f"no file at admin:gehe/im@{address}. Did") == f"no file at ***@{address}. Did"


def test_a_url_in_quotes_may_have_spaces():
    assert (
        redact("[Errno 5] I/O error: 'rtmp://me:gehe im@h/a' (\"x\")")
        == "[Errno 5] I/O error: 'rtmp://***@h/a' (\"x\")"
    )


@pytest.mark.parametrize(
    "text",
    [
        "/data/user=5/day=3/clip.mp4",
        "/data/http/clip_12:30@cam.mp4",
        "movie.srt/a:b@c",
        "C:\\rtsp\\a:b@c.mp4 and \\rtsp\\12:30@d.mp4",
        "/data/http/me@home.mp4 or http//h:80/x",
        "https://h/maps?compass=1&bypass=2&passes=3&monkey=4&users=5&author=6&design=7&keyframe=8&passenger=9&spin=0",
        "http://h/farm?turkey=1&donkey=2&keyboard=3",
        "http://h/x?page=1&codec=h264&postcode=2&t=3&rehash=4&start=5&assign=6&blogin=7&group=8",
        "box:1,2,3,4@5 or my/return:1@2",
        "a cookie is one; x-ray: two; monkey-api-key: three",
        "authorization failed because of the time",
        "rtsp://h/user=guest/stream=0.sdp",
        "Authorization: Digest is not understood",
        "a token is needed: Authorization: Bearer",
        "cam: 12:30@cam.mp4 and me@10.0.0.5:80 and 12:30@my.cam.MP4, turn: 5@6",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert redact(text) == text


@pytest.mark.parametrize(
    "begin", ["", "rtsp://", "'rtsp://", "a:", "/user=", "Authorization: Digest ", "Authorization: "]
)
@pytest.mark.parametrize(
    "part",
    ["a", "a:", ":", "://", "'", "'a://", "a:@a:1", "@1.1.1.",
     "a://", "a://:", "a://:@", "/user=", "_password=", "/user=&password=", "?key=", " ", "a=",
     "?key", "key", "http/", "http/:", "http\\", "http:", "http;", "#", "#a", r"\u0026", r"\u0026key=",
     "authorization: a\n", "authorization: a ", "authorization:",
     "authorization", "authorization: ", "Authorization: Basic ", "Authorization: Digest a=",
     "turn:", "a:@a.", "x-key: a ", "?token=&"],
)  # fmt: skip
def test_a_long_text_takes_no_long_time(begin: str, part: str):
    began = time.thread_time()
    redact(begin + part * (64_000 // len(part)))
    assert time.thread_time() - began < 1


# What is meant, whatever it costs.
PLAIN = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)(?:[^/\s]*:\S*@|[^/\s]*@)")
NO_SCHEME = re.compile(r"(?<!\S)[^/\s:@]+:(?!/)\S*@(?=a)")


@given(st.lists(st.sampled_from(["a", "+", "://", ":", "/", "@", " ", "?"]), max_size=16).map("".join))
@example("a://b:c@d a://:e a://f@g:h@i")
def test_of_any_text_all_up_to_the_last_at_sign_of_a_url_is_cut(text: str):
    assert redact(text) == NO_SCHEME.sub("***@", PLAIN.sub(r"\g<scheme>***@", text))


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer {}",
        "b'authorization: Basic {}'",
        "{{'Authorization': 'Bearer {}'}}",
        r"{{\"Authorization\": \"Bearer {}\"}}",
        r"{{\\\"Authorization\\\": \\\"Bearer {}\\\"}}",
        "Authorization: Token {}",
        "authorization: ApiKey {}",
        "{{'Authorization': 'Token {}'}}",
        "Authorization: {}",
        '{{"authorization":"{}","n":1}}',
        "b'authorization: {}'",
        "authorization: token={}, n=1",
        "Authorization: Bearer: {}",
        "Authorization: AWS4-HMAC-SHA256 Credential=geheim/s3, SignedHeaders=host, Signature={}",
        'Authorization: Digest username="geheim", realm="IP camera", response="{}", qop=auth',
    ],
)
def test_a_header_s_token_is_cut(header: str):
    for secret in ("geheim\\x00geheim", "geheim"):
        text = redact(f"Invalid header value: {header.format(secret)} ^ is none")
        assert "geheim" not in text
        assert text.startswith("Invalid header value: ")
        assert text.endswith(" is none") != ("=" in header)  # a list goes up to the end of the line
        assert "=" in header or redact(text) == text


@pytest.mark.parametrize(
    "header",
    [
        "X-Api-Key: {}",
        "x-auth-token: {}",
        "api-key:{}",
        "{{'X-Amz-Security-Token': '{}'}}",
        r"{{\"X-Api-Key\": \"{}\"}}",
        "Cookie: a={}; b={}",
        "b'set-cookie: a={}; Path=/'",
    ],
)
def test_other_headers_secrets_are_cut(header: str):
    text = redact(f"Invalid header value: {header.format('geheim', 'geheim')}\nthe next line")
    assert "geheim" not in text
    assert text.startswith("Invalid header value: ")
    assert text.endswith("***\nthe next line")
    assert redact(text) == text


@pytest.fixture
def third_party() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A library's logger with a handler and a format of its own, that does not propagate."""
    before = logging.getLogRecordFactory()
    clean_records()
    stream = io.StringIO()
    logger = logging.getLogger("some.library")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s %(msg)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    yield logger, stream
    logger.handlers, logger.propagate = [], True
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("password", ODD)
def test_other_peoples_loggers_and_handlers_see_no_password(third_party, password: str):
    logger, stream = third_party
    url = f"rtsp://admin:{password}@camera/live"
    logger.info(f"opening {url}")
    logger.info("opening %s for %d s", url, 5)
    logger.info("%(url)s", {"url": url})
    logger.warning("not %d numbers", url)
    try:
        try:
            int(url)
        except ValueError as error:
            raise RuntimeError(f"no {url}") from error
    except RuntimeError:
        logger.exception("opening failed: %s", url)
    logger.error("here", stack_info=True, extra={"url": url})
    text = stream.getvalue()
    assert text.count("rtsp://***@camera/live") >= 7
    assert "Traceback" in text
    assert "geheim" not in text
    assert "gehe" not in text.replace("geheim", "")


def test_json_lines_have_what_they_should(third_party):
    logger, stream = third_party
    logger.handlers[0].setFormatter(JsonFormatter())
    tags = {"stream": "door", "event": "lost", "cause": "rtsp://a:geheim@b/"}
    logger.warning("door: lost\nin two lines\N{SNOWMAN}", extra=tags)
    try:
        int("http://u:geheim@h/")
    except ValueError:
        logger.exception("oh")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert list(first) == ["time", "level", "logger", "stream", "event", "cause", "message"]
    time = datetime.fromisoformat(first.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(time.tzinfo) - time) < timedelta(seconds=10)
    assert first == {
        "level": "warning",
        "logger": "some.library",
        "stream": "door",
        "event": "lost",
        "cause": "rtsp://***@b/",
        "message": "door: lost\nin two lines\N{SNOWMAN}",
    }
    assert second["exception"].endswith("invalid literal for int() with base 10: 'http://***@h/'")


def test_a_thread_that_crashes_is_logged_without_the_password():
    script = (
        "import threading, logging; from streampose.observe.logs import LogFormat, set_up; set_up(LogFormat.JSON)\n"
        "def f(): raise OSError('rtsp://u:geheim@h/ broke')\n"
        "t = threading.Thread(target=f, name='reader'); t.start(); t.join()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["event"], line["message"]) == ("critical", "crash", "reader crashed")
    assert "geheim" not in done.stderr


@pytest.mark.parametrize("when", ["at once", "after the options"])
def test_a_bug_in_a_command_is_one_record_without_the_password(when: str):
    script = (
        "import sys, types; import streampose.cli; main = sys.modules['streampose.cli.main']\n"
        "def bug(): raise RuntimeError('bug at rtsp://u:geheim@h/')\n"
        + (
            "main._app = lambda words: bug\n"
            if when == "at once"
            else "main._COMMANDS['bug'] = 'b:bug'; sys.modules['streampose.cli.b'] = types.SimpleNamespace(bug=bug)\n"
        )
        + "sys.argv[1:] = ['--log-format', 'json', 'bug']; main.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: bug at rtsp://***@h/" in done.stderr
    assert "geheim" not in done.stderr


def test_every_event_is_in_the_docs():
    root = Path(__file__).parents[2]
    told = (root / "docs" / "service.md").read_text()
    events = {
        event
        for path in (root / "streampose").rglob("*.py")
        for event in re.findall(r'"event": "([a-z -]+)"', path.read_text(encoding="utf-8"))
    }
    assert len(events) > 10, "the test would show nothing"
    assert not [event for event in events if f"`{event}`" not in told]


def streampose(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streampose", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@rtsp
@pytest.mark.rtsp
def test_a_refused_password_is_one_line_of_json_beside_a_stream_that_goes_on(tmp_path: Path):
    server = RtspServer("--user", "admin", "--password", "right")
    try:
        url = server.url(userinfo="admin:geheim%40%2F%231@")
        done = streampose(
            *("--debug", "--log-format", "json", "run", f"door={url}", "yard=synthetic:?size=160x120&fps=10"),
            *("--live", "--seconds", "2", "--json", f"{tmp_path}/"),
        )
    finally:
        server.kill()
    lines = [json.loads(line) for line in done.stderr.splitlines()]  # nothing but JSON
    assert done.returncode == 1
    assert "geheim" not in done.stderr
    failed = [line for line in lines if line.get("event") == "failed"]
    assert len(failed) == 1
    assert (failed[0]["level"], failed[0]["stream"], failed[0]["cause"]) == ("warning", "door", "unauthorized")
    assert (tmp_path / "yard.jsonl").stat().st_size > 0


def test_debugging_messages_and_tracebacks_hold_no_password():
    done = streampose("--debug", "run", "gopher://admin:gehe/im@h/x")
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)
    assert "error: " in done.stderr
    assert "gehe" not in done.stderr


SAID = "it said \x1b[2J\x9b1A\rerror:\tTschüß\x7f\x00\nWARNING \u2028\u202egnp\u2069"
SEEN = r"it said \x1b[2J\x9b1A\rerror:{}Tschüß\x7f\x00\nWARNING \u2028\u202egnp\u2069".format("\t")


def test_what_a_server_says_moves_no_cursor_and_begins_no_line():
    bug = (OSError, OSError(SAID), None)
    record = logging.LogRecord("streampose", logging.WARNING, __file__, 1, "%s", (SAID,), bug)
    first, *traceback = TextFormatter("%(levelname)s %(message)s").format(record).splitlines()
    assert first == f"WARNING {SEEN}"
    assert traceback == f"OSError: {SEEN}".split(r"\n"), "it is to be read"
    line = JsonFormatter().format(record)
    assert line.replace("ü", "").replace("ß", "").isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == SAID


def test_an_error_and_a_word_move_no_cursor_either(monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    monkeypatch.setattr(say, "console", Console(file=out, soft_wrap=True))
    say.fail(SAID)
    say.say(f"[red]{SAID}")
    say.say(say.dim(SAID))
    seen = SEEN.replace(r"\n", "\n")
    assert out.getvalue().expandtabs() == f"error: {SEEN}\n[red]{seen}\n{seen}\n".expandtabs()
