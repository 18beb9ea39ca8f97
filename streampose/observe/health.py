"""Whether a pipeline is alive, and whether it does its work: what a service manager or a load balancer asks."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from streampose.observe.state import StreamState, fault_of, state_of
from streampose.pipeline import Pipeline
from streampose.redaction import redact

__all__ = ["Need", "Verdict", "live", "ready"]

# No batch takes so long; the first ones, which may, run while the models are loaded.
_STUCK_S = 30.0
# Or twice the longest time without a picture that a live source is given before it counts as lost, mostly 5 s.
_SILENT_S = 10.0

Need = int | None
"""How many streams have to deliver for the whole to be ready; `None` = all, and one at least; 0 = loaded is ready."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer, and why."""

    ok: bool
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


def live(pipeline: Pipeline | None) -> Verdict:
    """Whether it is worth keeping this process: it answers, and no batch hangs.

    A lost camera is no reason to restart it. An event loop that hangs cannot answer, which is an answer, too.
    """
    held_up_s = 0.0 if pipeline is None else pipeline.snapshot().engine.held_up_s
    details = {"held_up_s": round(held_up_s, 3)}
    if held_up_s > _STUCK_S:
        return Verdict(False, "the batcher is stuck", details)
    return Verdict(True, "alive", details)


def ready(pipeline: Pipeline | None, need: Need = 1, named: Container[str] | None = None) -> Verdict:
    """Whether results come: the models are loaded, and enough streams have delivered within the last ten seconds,
    or twice the timeout of their own.

    Args:
        pipeline: `None` = the models are not loaded.
        need: how many streams are enough.
        named: the streams that are meant, and told of; `None` = all.
    """
    if pipeline is None:
        return Verdict(False, "the models are being loaded")
    figures, reports = pipeline.snapshot().streams, pipeline.reports
    delivering, streams = 0, {}
    for name, report in reports.items():
        if named is not None and name not in named:
            continue
        age_s, state = figures[name].age_s, state_of(report)
        silent_s = _SILENT_S if report.link is None else max(_SILENT_S, 2 * report.link.stall_s)
        delivers = state is StreamState.RUNNING and age_s is not None and age_s < silent_s
        delivering += delivers
        streams[redact(name)] = {
            "delivering": delivers,
            "state": state.value,
            "cause": fault_of(report),
            "age_s": None if age_s is None else round(age_s, 3),
        }
    if need == 0:
        return Verdict(True, "the models are loaded", {"streams": streams})
    needed = max(1, len(streams) if need is None else min(need, len(streams)))
    return Verdict(delivering >= needed, f"{delivering} of {len(streams)} streams deliver", {"streams": streams})
