"""What a measured run says, in words: from figures to advice, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from streampose.figures import Figures, jain

__all__ = ["diagnose"]

# Live sources that bring less than this share of their rates are held up, and the engines with them.
_FULL_RATE = 0.9
# A share of its time from which on something counts as the one that everybody waits for.
_BUSY = 0.85
_IDLE = 0.6


def diagnose(figures: Figures) -> list[str]:
    """What holds this run up and what to do about it, the most telling first; never empty."""
    if figures.frames and not figures.fps:
        return ["nothing was delivered in a time that could be measured"]
    return [words for rule in _RULES if (words := rule(figures)) is not None] or [_fine(figures)]


def _no_frames(f: Figures) -> str | None:
    return None if f.frames else "nothing was delivered: see the errors above, or measure for longer (--seconds)"


def _gpu_unused(f: Figures) -> str | None:
    return f"the GPU is not used: {f.gpu_unused}" if f.gpu_unused else None


def _hopeless(f: Figures) -> str | None:
    if not f.live or f.budget_s is None or f.batch_s is None or f.largest_batch > 1 or f.batch_s <= f.budget_s:
        return None
    return (
        f"one frame alone takes {_ms(f.batch_s)}, more than the budget of {_ms(f.budget_s)}: "
        "no batching helps; take a smaller model, or a longer --budget"
    )


def _decode_bound(f: Figures) -> str | None:
    if not f.frames or f.reading < _BUSY or f.busy > _BUSY:
        return None
    decode_s = f.stages_s.get("decode", 0.0)
    # A live read waits for the next picture. What is computed in it counts: of a recording played live, all of it.
    if f.live and (not f.source_fps or decode_s * f.source_fps / len(f.delivered) < _BUSY):
        return None
    if f.decoder == "none":
        cure = "take smaller images, or make a video of them"
    elif f.decoder.startswith("software"):
        cure = "use --hwaccel auto, or several files at once"
    else:
        cure = "run several files at once: each has a decoder of its own"
    return (
        f"decode-bound: reading takes {_ms(decode_s)} a frame and the engines idle {1 - f.busy:.0%} of the time: {cure}"
    )


def _small_batches(f: Figures) -> str | None:
    if not f.overloaded or f.busy < _BUSY or f.largest_batch > 2 or f.max_batch <= 2 or f.budget_s is None:
        return None
    # A frame waits for about one batch before its own: if two of twice the size still fit, the budget is no limit.
    if _hopeless(f) is not None or (f.batch_s is not None and 4 * f.batch_s < f.budget_s):
        return None
    took = "" if f.batch_s is None else f" (a batch takes {_ms(f.batch_s)})"
    return (
        f"batch never above {f.largest_batch}: the budget of {_ms(f.budget_s)} is too tight for more{took}; "
        "a longer --budget gives more frames a second, most of all on a GPU"
    )


def _overload(f: Figures) -> str | None:
    if not f.overloaded or f.busy < _BUSY or not f.source_fps or not f.frames:
        return None
    per_stream = f.source_fps / len(f.delivered)
    return (
        f"overloaded: the streams bring {f.source_fps:.0f} fps, {f.fps:.0f} are done, {f.lost:.0%} are dropped; "
        f"{int(f.fps / per_stream)} of these {len(f.delivered)} streams fit"
    )


def _idle(f: Figures) -> str | None:
    if not f.live or f.busy > _IDLE or f.overloaded or not f.source_fps or not f.busy:
        return None
    if f.captured < _FULL_RATE * f.source_fps * f.elapsed_s:
        return None
    more = int(len(f.delivered) * 0.9 / max(f.busy, 0.01))
    room = f": about {more} such streams would fit" if more > len(f.delivered) else ""
    return f"engine idle {1 - f.busy:.0%}: the sources give only {f.source_fps:.0f} fps{room}"


def _dropped_while_idle(f: Figures) -> str | None:
    if not f.overloaded or f.busy > _BUSY:
        return None
    worst = max(f.dropped, key=lambda cause: f.dropped[cause])
    return (
        f"{f.lost:.0%} of the frames are dropped ({worst}) though the engines idle {1 - f.busy:.0%} of the time: "
        "the policy waits too long, or something outside takes the time"
    )


def _finish_bound(f: Figures) -> str | None:
    finish_s = f.stages_s.get("finish", 0.0)
    if f.live or f.busy > _BUSY or finish_s * f.fps / max(1, len(f.delivered)) < _BUSY:
        return None
    return f"finish-bound: ids, smoothing and drawing take {_ms(finish_s)} a frame of a stream: leave out what is not needed"  # noqa: E501


def _preprocess(f: Figures) -> str | None:
    share = f.stages_s.get("preprocess", 0.0) + f.stages_s.get("crop", 0.0)
    if not f.frames or not f.engine_s or f.busy < _BUSY or share < 0.3 * f.engine_s:
        return None
    return f"resizing and cropping take {share / f.engine_s:.0%} of the engines' time ({_ms(share)} a frame)"


def _gpu_starved(f: Figures) -> str | None:
    if f.gpu is None or not f.on_gpu or f.busy < _BUSY or f.gpu.utilisation > 0.8:
        return None
    return (
        f"the engine is busy but the GPU idles {1 - f.gpu.utilisation:.0%} of the time: what the CPU does for each "
        "batch holds it up"
    )


def _late(f: Figures) -> str | None:
    p99 = f.latency_s.get("p99")
    if not f.live or f.budget_s is None or p99 is None or p99 <= f.budget_s or _hopeless(f) is not None:
        return None
    within = "" if f.on_time is None else f" ({f.on_time:.1%} of the frames are within it)"
    return f"p99 of {_ms(p99)} is over the budget of {_ms(f.budget_s)}{within}"


def _unfair(f: Figures) -> str | None:
    index = jain(list(f.delivered.values()))
    if not f.live or index >= 0.95:
        return None
    least, most = min(f.delivered, key=f.delivered.__getitem__), max(f.delivered, key=f.delivered.__getitem__)
    return f"unfair: {least} got {f.delivered[least]} frames, {most} {f.delivered[most]} (Jain {index:.2f})"


def _elsewhere(f: Figures) -> str | None:
    # With as many engine threads as cores, a busy CPU engine means a busy CPU: what is missing, others have.
    if f.on_gpu or f.cores_used is None or f.busy < _BUSY or f.cores_used > 0.75 * f.cores:
        return None
    return (
        f"the engines were busy, yet this process got {f.cores_used:.1f} of {f.cores:g} cores: other processes take "
        "the rest (or --threads is low), and these figures are too low"
    )


def _memory(f: Figures) -> str | None:
    # Buffers fill up for some seconds, and less is noise of allocators; a leak of frames is megabytes a second.
    if f.rss_growth_mb is None or f.elapsed_s < 20 or f.rss_growth_mb < max(50.0, f.elapsed_s):
        return None
    return f"memory grew by {f.rss_growth_mb:.0f} MB in the second half of the run: please report it"


def _below_bound(f: Figures) -> str | None:
    if not f.frames or f.of_bound is None or f.of_bound >= 0.85 or f.busy < _BUSY or (f.live and not f.overloaded):
        return None
    if _elsewhere(f) is not None:
        return None  # the engines alone had more of the machine: the two cannot be compared
    inside_s = sum(f.stages_s.get(stage, 0.0) for stage in ("detect", "keypoints"))
    rest = f"{1 - inside_s / f.engine_s:.0%} of their time goes" if inside_s else "the rest goes"
    return (
        f"the engines are busy, but the run reaches {f.of_bound:.2f} of what ONNX Runtime alone does here "
        f"({f.bound_fps:.0f} fps): {rest} to the stages around the models"
    )


def _short(f: Figures) -> str | None:
    if not f.frames or f.frames >= 100:
        return None
    return f"only {f.frames} frames: the p99 is hardly more than the slowest one; measure for longer"


def _at_the_limit(f: Figures) -> str | None:
    if not f.frames or f.busy < _BUSY or (f.of_bound is not None and f.of_bound < 0.85) or (f.live and f.overloaded):
        return None
    where = "GPU" if f.on_gpu else "CPU"
    beside = "" if f.of_bound is None else f", {f.of_bound:.2f} of what ONNX Runtime alone does here"
    return f"engine-bound: the engines are busy {f.busy:.0%} of the time{beside}: more needs a smaller model or another {where}"  # noqa: E501


def _fine(f: Figures) -> str:
    return f"nothing stands out: {f.fps:.0f} fps, the engines are busy {f.busy:.0%} of the time"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


_RULES: tuple[Callable[[Figures], str | None], ...] = (
    _no_frames,
    _gpu_unused,
    _hopeless,
    _decode_bound,
    _finish_bound,
    _small_batches,
    _overload,
    _dropped_while_idle,
    _idle,
    _gpu_starved,
    _preprocess,
    _below_bound,
    _at_the_limit,
    _late,
    _unfair,
    _elsewhere,
    _memory,
    _short,
)
