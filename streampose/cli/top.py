"""`streampose top`: a running streampose, live in a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Annotated

import httpx
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streampose.cli.service import parse_secret
from streampose.cli.values import parse_seconds
from streampose.errors import ConfigError, Disconnected, SourceUnauthorized
from streampose.observe.logs import in_one_line
from streampose.observe.scrape import EngineView, StreamView, View, quantile, read_view, since
from streampose.redaction import redact, unspaced

__all__ = ["top"]

_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 30
_PIPE_WIDTH = 200
_STYLES = {"running": "green", "opening": "yellow", "lost": "yellow", "failed": "red", "cancelled": "red"}


def top(
    url: Annotated[
        str, typer.Argument(help="Where a `run` or `serve` with --metrics answers: a URL, HOST:PORT, or a PORT here.")
    ] = "http://127.0.0.1:9464",
    token: Annotated[
        str | None, typer.Option(metavar="env:NAME|file:PATH", help="Where the token is, if it asks for one.")
    ] = None,
    interval: Annotated[str, typer.Option(help="Between two looks.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Print one table, over the whole run so far.")] = False,
) -> None:
    """Show how every stream of a running streampose does, until Ctrl-C.

    Frames in and out per second; the age of what was delivered last; latency from capture to delivery; frames dropped
    (+ results that a slow output did not take); how often the camera came back; the history of frames out.
    """
    every_s, secret = parse_seconds(interval), parse_secret(token)
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    # A pipe has no width, and whoever reads it wants all.
    console = Console(highlight=False, width=None if sys.stdout.isatty() or not once else _PIPE_WIDTH)
    # The newest is at the right end, where a narrow terminal would cut.
    board = _Board(history=max(2, min(_HISTORY, console.width - 78)))
    with httpx.Client(headers=headers, timeout=5.0) as client:
        view = _look(client, url)
        if once:
            console.print(board.draw(view), soft_wrap=True)
            return
        # Not KeyboardInterrupt: where it is raised in a finaliser of a library's, it gets lost.
        stopped = threading.Event()
        previous = {number: signal.signal(number, lambda *_: stopped.set()) for number in _stops()}
        try:
            with Live(board.draw(view), console=console, auto_refresh=False, screen=console.is_terminal) as shown:
                while not stopped.wait(every_s):
                    try:
                        picture = board.draw(_look(client, url))
                    except Disconnected as error:  # it may be started again
                        picture = Group(Text(in_one_line(str(error)), "red"))
                    shown.update(picture, refresh=True)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _stops() -> list[int]:
    """What ends it, with the terminal as it was; a SIGHUP that is ignored (nohup) does not."""
    hangs_up = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


def _look(client: httpx.Client, url: str) -> View:
    """Scrape once.

    Raises:
        Disconnected: nothing answers, or not with metrics.
        SourceUnauthorized: it wants a token, or another one.
        ConfigError: this is no URL.
    """
    if not url.strip():
        raise ConfigError("the address is empty: write a URL, HOST:PORT, or a PORT of this machine")
    at = f"127.0.0.1:{url}" if url.isdecimal() else url
    where = unspaced(at if "://" in at else f"http://{at}").rstrip("/")
    shown = redact(where)
    try:
        answer = client.get(where if where.endswith("/metrics") else f"{where}/metrics")
    except httpx.TransportError as error:
        raise Disconnected(
            f"nothing answers at {shown} ({redact(str(error)) or type(error).__name__}): is a `run` or `serve` "
            "with --metrics there, and at that port?"
        ) from error
    except httpx.InvalidURL:
        # Not chained: what it says may be a piece of a password that was not escaped.
        raise ConfigError(f"{shown} is not a URL") from None
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise SourceUnauthorized(f"{shown} wants a token: --token env:NAME or file:PATH")
    if not answer.is_success:
        raise Disconnected(f"{shown} answered {answer.status_code} {answer.reason_phrase}: no metrics there")
    try:
        return read_view(answer.text)
    except ValueError as error:
        raise Disconnected(f"{shown}: {error}") from error


class _Board:
    """The table, and what it must remember: the look before, and a little history."""

    def __init__(self, history: int = _HISTORY) -> None:
        self._before: View | None = None
        self._history: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=history))

    def draw(self, view: View) -> Group:
        """The picture of this moment; latencies are those since the look before."""
        before = self._before
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("stream", "state", "in", "out", "age", "p50", "p95", "p99", "drops", "back"):
            # Words are cut in a narrow terminal (`_row`), but no figures: half of one is another one.
            words = title in {"stream", "state"}
            table.add_column(title, justify="left" if words else "right", no_wrap=not words)
        table.add_column("history")  # of what comes out
        for name, stream in view.streams.items():
            self._history[name].append((stream.fps_out if _flows(stream) else None) or 0.0)
            past = None if before is None else before.streams.get(name)
            table.add_row(*_row(name, stream, past, _sparkline(self._history[name])))
        self._before = view
        return Group(_headline(view), _engine(view, before), "", table)


def _row(name: str, stream: StreamView, past: StreamView | None, history: str) -> list[Text]:
    latency = stream.latency if past is None else since(stream.latency, past.latency)
    state = stream.state if stream.fault is None else f"{stream.state}: {stream.fault}"
    drops = f"{stream.dropped}+{stream.late_sinks}" if stream.late_sinks else str(stream.dropped)
    return [
        Text(name, no_wrap=True, overflow="ellipsis"),
        Text(state, _STYLES.get(stream.state, ""), no_wrap=True, overflow="ellipsis"),
        *(Text(_number(fps if _flows(stream) else None)) for fps in (stream.fps_in, stream.fps_out)),
        Text(_time(stream.age_s)),
        *(Text(_time(quantile(latency, q))) for q in (0.5, 0.95, 0.99)),
        Text(drops),
        Text(str(stream.reconnects)),
        Text(history, "cyan", no_wrap=True, overflow="crop"),
    ]


def _flows(stream: StreamView) -> bool:
    """Whether its rates are those of now: they are measured over the last frames, and outlive a camera for a while."""
    return stream.state in {"running", ""}


def _headline(view: View) -> Text:
    memory = "" if view.memory_bytes is None else f", {view.memory_bytes / 1e6:.0f} MB"
    return Text(f"streampose {view.version}, up {view.uptime_s:.0f} s{memory}", "bold")


def _engine(view: View, before: View | None) -> Text:
    """Batches and utilisation, since the look before or of the whole run."""
    now, past, elapsed_s = view.engine, None if before is None else before.engine, view.uptime_s
    if past is not None and before is not None and view.uptime_s > before.uptime_s and now.batches > past.batches:
        elapsed_s -= before.uptime_s
    else:
        past = EngineView(engines=0, batches=0, frames=0, busy_s=0.0, seconds={}, queued=0)
    batches, frames = now.batches - past.batches, now.frames - past.frames
    busy = (now.busy_s - past.busy_s) / elapsed_s / now.engines if elapsed_s > 0 and now.engines else 0.0
    seconds = since(now.seconds, past.seconds)
    return Text(
        f"engine: {now.engines} × {min(busy, 1.0):.0%} busy, {frames / batches if batches else 0:.1f} frames a batch, "
        f"batch p50 {_time(quantile(seconds, 0.5))} p95 {_time(quantile(seconds, 0.95))}, {now.queued} queued"
    )


def _sparkline(values: Sequence[float]) -> str:
    most = max(values, default=0.0)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1)) if most else 0] for value in values)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
