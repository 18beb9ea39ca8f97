"""`streampose serve`: a web page that shows visitors their skeletons."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

import streampose
from streampose.arenas import few_arenas
from streampose.batching import LatencyBatch
from streampose.cli import engine
from streampose.cli.command import flat
from streampose.cli.references import resolve
from streampose.cli.say import dim, say
from streampose.cli.service import Metrics, MetricsToken, parse_metrics, parse_secret
from streampose.cli.session import before_anything, beside, interrupts
from streampose.cli.values import named_sources, parse_budget
from streampose.cores import share_cores
from streampose.errors import StreamposeError
from streampose.gauges import rss_mb
from streampose.inference.loading import describe_all
from streampose.observe.access import Address, is_loopback
from streampose.observe.watch import Watch, WatchOptions
from streampose.pipeline import Pipeline
from streampose.preview import Models, choices_of
from streampose.redaction import redact
from streampose.sources import Source, open_source
from streampose.web.catalogue import check_name
from streampose.web.ice import Offered, parse_ice_server
from streampose.web.limits import Limits
from streampose.web.origins import Origins
from streampose.web.server import ModelDesk, WebOptions, WebServer, read_tls

__all__ = ["serve"]

log = logging.getLogger("streampose")

_WEB, _MODEL, _FLOW = "Web", "Model", "Flow"


@flat
def serve(
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]SOURCE...", help="Cameras and streams that visitors see, too; see `run`."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; others than this machine need --token.", rich_help_panel=_WEB)
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", rich_help_panel=_WEB)] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="env:NAME|file:PATH",
            help="Where the token is that visitors must have.",
            rich_help_panel=_WEB,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(help="Certificate (PEM): browsers give cameras to https:// only.", rich_help_panel=_WEB),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).", rich_help_panel=_WEB)] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let pages of https://HOST[:PORT] ask, too (CORS); '*' = all pages that have the token.",
            rich_help_panel=_WEB,
        ),
    ] = None,
    ice_address: Annotated[
        list[str] | None,
        typer.Option(
            help="An address that WebRTC offers; by default where it listens. Behind NAT: the public one.",
            rich_help_panel=_WEB,
        ),
    ] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="stun:HOST|turn:USER:SECRET@HOST",
            help="For both sides; {env:NAME} and {file:PATH} in it are filled in. By default none.",
            rich_help_panel=_WEB,
        ),
    ] = None,
    max_peers: Annotated[int, typer.Option(min=1, help="WebRTC sessions at a time.", rich_help_panel=_WEB)] = 8,
    memory_mb: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="MB of this process beyond which nobody new is let in; by default 4096 more than with the model.",
            rich_help_panel=_WEB,
        ),
    ] = None,
    chosen: engine.Models,
    next_model: Annotated[
        list[str] | None,
        typer.Option(
            help="What visitors can choose beside it: a model that does all, or DETECTOR+POSE; by default all that "
            "were pulled.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    engines: engine.Engines,
    budget: engine.Budget = "100ms",
    batch: engine.Batch = None,
    metrics: Metrics = None,
    metrics_token: MetricsToken = None,
) -> None:
    """Serve a web page: a visitor's camera in, the skeleton back.

    Examples:

      streampose serve

      streampose serve door=rtsp://10.0.0.5/a --host 0.0.0.0 --token file:token --tls-cert cert.pem --tls-key key.pem
    """
    address = Address(host=host, port=port, token=parse_secret(token), option="--token")
    options = WebOptions(
        address=address,
        tls=read_tls(tls_cert, tls_key),
        ice_addresses=[Offered(public=address) for address in ice_address or ()],
        ice_servers=[parse_ice_server(resolve(text)) for text in ice_server or ()],
        limits=Limits(peers=max_peers),
        origins=Origins(allow_origin or (), token=address.token is not None),
    )
    few_arenas()
    models = Models(choices_of(chosen.choice(), next_model or ()), engines.options(batch))
    texts = named_sources(sources or [], for_urls=True)
    for name in texts:
        check_name(name)
    named = {name: open_source(resolve(text), live=True) for name, text in texts.items()}
    policy = LatencyBatch(parse_budget(budget), max_frames=batch or 16)
    # It is ready without a visitor; and a label of each visitor's would be one too many.
    watch = WatchOptions(metrics=parse_metrics(metrics, metrics_token), need=0, named=frozenset(named))
    with before_anything():
        code = asyncio.run(_serve(options, memory_mb, models, named, policy, watch))
    raise typer.Exit(code)


@dataclass(slots=True)
class _Desk:
    """What visitors are told of the models."""

    models: Models
    loading: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        self.models.on_loading = self._begin
        self.models.on_loaded = self._done
        self.models.on_failed = self._failed

    def about(self) -> dict[str, Any]:
        """As plain data."""
        names, current = list(self.models.names), self.models.current
        return {"names": names, "current": current, "loading": self.loading, "error": self.error}

    def _begin(self, name: str) -> None:
        self.loading, self.error = name, None

    def _done(self, name: str, estimators: Sequence[Any]) -> None:
        self.loading = None
        say(dim(describe_all(estimators)))

    def _failed(self, name: str, error: StreamposeError) -> None:
        self.loading, self.error = None, redact(f"{name}: {error}")
        log.warning("%s", self.error, extra={"event": "model-failed"})


# Beside what the models have.
_FOR_VISITORS_MB = 4096
# Signs of a token that nobody guesses, whatever it is made of.
_LONG = 16


async def _serve(
    options: WebOptions,
    memory_mb: int | None,
    models: Models,
    named: dict[str, Source],
    policy: LatencyBatch,
    wanted: WatchOptions,
) -> int:
    share_cores()
    # At the level of a warning a visitor could fill the log with packets that cannot be decoded.
    if not log.isEnabledFor(logging.DEBUG):
        logging.getLogger("aiortc").setLevel(logging.ERROR)
    async with Watch(wanted, version=streampose.__version__) as watch:
        await options.check()  # after that: both could want one port
        desk = _Desk(models)
        await beside(models.load)
        return await _with_models(options, memory_mb, desk, named, policy, watch)


async def _with_models(
    options: WebOptions,
    memory_mb: int | None,
    desk: _Desk,
    named: dict[str, Source],
    policy: LatencyBatch,
    watch: Watch,
) -> int:
    models = desk.models
    # CUDA alone has gigabytes: what counts is what comes after it.
    limits = replace(options.limits, memory_mb=memory_mb or (rss_mb() or 0) + _FOR_VISITORS_MB)
    options = replace(options, limits=limits)
    try:
        async with Pipeline([], models.engines, policy=policy, keep_running=True) as pipeline:
            running = asyncio.create_task(pipeline.run())
            stop = asyncio.Event()
            with interrupts(watch.stopping(stop.set), running.cancel):
                async with WebServer(options, pipeline, ModelDesk(about=desk.about, choose=models.choose)) as server:
                    for name, source in named.items():
                        await server.show(name, source)
                    watch.begin(pipeline)
                    _welcome(options, server.urls)
                    await _either(stop, running)
                pipeline.stop()
                await running
    except asyncio.CancelledError:
        say("cut off")
        return 130
    finally:
        await asyncio.to_thread(models.close)
    return 0


async def _either(stop: asyncio.Event, running: asyncio.Task[Any]) -> None:
    """Wait until somebody stops it, or the engines fail."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()


def _welcome(options: WebOptions, urls: list[str]) -> None:
    behind, whose = ("", "") if options.address.token is None else ("#token=…", " with the token")
    say("open " + " or ".join(url + behind for url in urls) + whose)
    if is_loopback(options.address.host):
        return
    if len(options.address.token or "") < _LONG:
        say(f"the token has fewer than {_LONG} signs: others can guess it (openssl rand -hex 16 makes one)")
    if options.tls is None:
        say("without TLS (--tls-cert, --tls-key) browsers of other machines give no camera, and the token can be read")
