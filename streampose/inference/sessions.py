"""The ONNX Runtime sessions of one model on one device."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from streampose.inference.graphs import merged, wider
from streampose.inference.options import EngineOptions
from streampose.inference.providers import DEVICE_OF, PROVIDERS, open_session
from streampose.inference.runner import BoundRunner, Runner, Uploads
from streampose.inference.signature import Signature

__all__ = ["Sessions"]

log = logging.getLogger("streampose")


class Sessions:
    """One session for all batch sizes; on CUDA one for each, opened when it is first needed.

    Since ONNX Runtime 1.20 a convolution there keeps cuDNN's plan for the last shape only, and builds it anew whenever
    another one comes (onnxruntime issue 23006): seconds for a model. A session that sees one batch size builds once.

    Args:
        model: path of an ONNX file, also for messages.
        options: how it is run, on one device.
        graph: the model to load instead of the file's.
        several: inputs are allowed, as our own fused graphs have them.

    Raises:
        ModelUnreadable: not an ONNX model, or not one that this runtime can load.
        ModelUnknown: it takes several inputs, or none.
        ProviderUnavailable: the device that was asked for cannot be used.
    """

    def __init__(self, model: Path, options: EngineOptions, graph: bytes | None, *, several: bool) -> None:
        first, self.passed_over = open_session(model, options, graph)
        self.provider: str = first.get_providers()[0]
        """What runs the model."""
        self.apart = self.provider == PROVIDERS["cuda"]
        """Whether each batch size has a session of its own."""
        self.signature = Signature.of(first, model, several=several)
        self._model, self._graph = model, graph
        # Later ones go where the first one went, and are recorded if it is.
        chosen = first.get_provider_options().get(self.provider, {})
        recorded = chosen.get("enable_cuda_graph") == "1"
        self._plain = ""
        """Why kernels that were to be recorded are not, until that is said."""
        if self.apart and options.cuda_graphs and not recorded:
            self._plain = "parts of it do not run on the GPU"
        elif recorded and not self.signature.outputs_known:
            self._plain = "how much comes out of it is open"
        self._options = replace(options, device=DEVICE_OF[self.provider], cuda_graphs=recorded)
        self._unused: Any = first
        self._runners: dict[int, Runner | BoundRunner] = {}
        self._uploads = Uploads("cuda", options.device_id)

    @property
    def ready(self) -> list[int]:
        """The batch sizes that have a session of their own."""
        return sorted(self._runners) if self.apart else []

    def runner(self, size: int) -> Runner | BoundRunner:
        """What runs batches of this size.

        Raises:
            ProviderUnavailable: the device has no room for another session.
        """
        key = size if self.apart else 0
        if key not in self._runners:
            session = None if self._suited else self._unused
            self._unused = None  # its memory may be what the other needs
            if self._plain:
                log.warning("%s: %s, so its kernels cannot be recorded", self._model.name, self._plain)
                self._plain = ""
            if session is None:
                session, _ = open_session(self._model, self._options, self._suited or self._graph)
            self._runners[key] = self._runner(session)
        return self._runners[key]

    @cached_property
    def _suited(self) -> bytes | None:
        """What runs in the graph's place, if CUDA does better with it."""
        if not self.apart:
            return None
        graph = self._graph or self._model.read_bytes()
        fewer = merged(graph)
        return wider(fewer or graph) or fewer

    def _runner(self, session: Any) -> Runner | BoundRunner:
        if self.provider == PROVIDERS["cpu"]:
            return Runner(session, self.signature)
        where = "cuda", self._options.device_id
        return BoundRunner(session, self.signature, *where, cuda_graphs=self._options.cuda_graphs)

    def upload(self, array: NDArray[Any]) -> Any:
        """Bytes to the device, for runs of all sizes and models; good until the next call but one."""
        return array if self.provider == PROVIDERS["cpu"] else self._uploads(array)

    def forget(self, size: int) -> None:
        """Give back what the device's memory holds for this batch size alone."""
        if self._runners.pop(size if self.apart else 0, None) is not None:
            self._uploads = Uploads("cuda", self._options.device_id)
