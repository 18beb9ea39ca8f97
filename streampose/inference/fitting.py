"""An engine whose graph suits where it runs: with the work around the model in it, with shapes that are known, or with
less to move."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from streampose.errors import ModelUnreadable, ProviderUnavailable
from streampose.inference.card import Card
from streampose.inference.engine import Engine
from streampose.inference.graphs import closed, gathered
from streampose.inference.providers import DEVICE_OF, PROVIDERS

__all__ = ["fitted"]

log = logging.getLogger("streampose")

# Models with channel shuffles are small: larger ones need not be looked through.
_SMALL_BYTES = 64 << 20


def fitted(engine: Engine, card: Card, fuse: Callable[[], bytes]) -> Engine:
    """The engine, or another one of the same model in its place, which is then closed.

    Args:
        engine: the model as its file has it.
        card: what it wants.
        fuse: makes the graph that does the work around the model, too.

    Raises:
        ModelUnreadable: that was asked for, and cannot be.
    """
    if _wants_closing(engine):
        return _closed(engine, card)
    if _wants_fusing(engine):
        return _fused(engine, fuse)
    return engine if engine.on_gpu else _gathered(engine)


def _wants_fusing(engine: Engine) -> bool:
    """Whether more belongs into its graph: as asked for, or on CUDA."""
    options = engine.options
    if options.in_graph is not None:
        return options.in_graph and engine.provider != PROVIDERS["tensorrt"]
    return engine.provider == PROVIDERS["cuda"] and not options.cuda_graphs


def _wants_closing(engine: Engine) -> bool:
    """Whether the size of its pictures is open, and kernels are recorded or built for one."""
    built = engine.provider == PROVIDERS["tensorrt"] or (engine.on_gpu and engine.options.cuda_graphs)
    return built and None in engine.signature.inputs[0].shape[1:]


def _fused(engine: Engine, fuse: Callable[[], bytes]) -> Engine:
    try:
        return _by(engine, fuse(), fused=True)
    except (ModelUnreadable, ProviderUnavailable) as error:
        message = f"{engine.path.name} cannot have its pre- and post-processing in the graph: {error}"
        if engine.options.in_graph:
            raise ModelUnreadable(message) from error
        log.warning("%s; the CPU prepares them", message)
        return engine


def _closed(engine: Engine, card: Card) -> Engine:
    try:
        if (graph := closed(engine.source(), card)) is not None:
            return _by(engine, graph, fused=False)
        why = "its weights are in a file of their own"
    except (ModelUnreadable, ProviderUnavailable) as error:
        why = str(error)
    log.warning("%s keeps its open size: %s", engine.path.name, why)
    return engine


def _gathered(engine: Engine) -> Engine:
    try:
        if engine.path.stat().st_size > _SMALL_BYTES:
            return engine
        graph = gathered(engine.source())
        return engine if graph is None else _by(engine, graph, fused=False)
    except (ModelUnreadable, ProviderUnavailable, OSError) as error:
        log.info("%s runs as it is: %s", engine.path.name, error)
        return engine


def _by(engine: Engine, graph: bytes, *, fused: bool) -> Engine:
    """The same model by another graph, where it is now: `auto` would take the CPU for one that finds no room."""
    options = replace(engine.options, device=DEVICE_OF[engine.provider]) if engine.on_gpu else engine.options
    other = Engine(engine.path, options, graph, fused=fused)
    engine.close()
    return other
