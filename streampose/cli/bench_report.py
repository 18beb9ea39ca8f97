"""The figures of `streampose bench` as they are shown and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streampose.diagnosis import diagnose
from streampose.figures import Figures, jain
from streampose.gauges import machine
from streampose.inference.bound import EngineRate

__all__ = ["as_json", "draw"]

_BAR = 30


def draw(figures: Figures, rate: EngineRate | None, gpu_unknown: str, *, title: str) -> RenderableType:
    """All of it, within 80 columns."""
    parts: list[RenderableType] = [Text(title, style="bold"), _summary(figures, rate, gpu_unknown)]
    if figures.stages_s:
        rows = [(name, s, f"{s * 1000:.2f} ms") for name, s in figures.stages_s.items()]
        parts += [Text("\na frame's time", style="bold"), _bars(rows)]
    if figures.batches:
        counts = [(f"{size}", float(n), f"{n} ×") for size, n in figures.batches.items()]
        parts += [Text("\nframes in a batch", style="bold"), _bars(counts)]
    parts.append(Text("\ndiagnosis", style="bold"))
    for words in diagnose(figures):
        line = Table.grid(padding=(0, 1))
        line.add_row("[yellow]•[/]", escape(words))
        parts.append(Padding(line, (0, 0, 0, 2)))
    return Group(*parts)


def _summary(f: Figures, rate: EngineRate | None, gpu_unknown: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", min_width=12)
    table.add_column()

    def row(name: str, *words: str) -> None:
        table.add_row(name, ", ".join(word for word in words if word))

    row(
        "rate",
        f"[bold]{f.fps:.1f} fps[/bold]",
        f"{1000 / f.fps:.1f} ms a frame" if f.fps else "",
        f"{f.frames} frames in {f.elapsed_s:.1f} s",
        f"{f.people:.1f} people in each",
    )
    if f.latency_s:
        row("latency", *(f"{name} {s * 1000:.0f} ms" for name, s in f.latency_s.items()))
    if f.live:
        budget = f"{f.on_time:.1%} within {f.budget_s * 1000:.0f} ms" if f.budget_s and f.on_time is not None else ""
        drops = " + ".join(f"{count} {cause}" for cause, count in f.dropped.items())
        row("live", budget, f"dropped {f.lost:.1%}" + (f" ({drops})" if drops else ""))
    if len(f.delivered) > 1:
        shares = sorted(f.delivered.values())
        row("streams", f"{shares[0]} to {shares[-1]} frames each", f"Jain {jain(shares):.3f}")
    row("engines", f"{f.engines} on the {'GPU' if f.on_gpu else 'CPU'}", f"busy {f.busy:.0%}")
    if rate is not None and f.of_bound is not None:
        alone = f"{rate.fps:.1f} fps at batch {rate.batch}"
        row("models alone", alone, f"[bold]{f.of_bound:.2f}[/bold] of it reached")
    if f.gpu is None:
        row("GPU", f"no figures: {escape(gpu_unknown)}" if gpu_unknown else "no figures")
    else:
        memory = f"memory {f.gpu.memory_peak_mb / 1000:.1f} of {f.gpu.memory_mb / 1000:.1f} GB"
        row("GPU", f.gpu.name, f"{f.gpu.utilisation:.0%} in use", memory)
    if f.decoder != "none":
        row("decode", escape(f.decoder))
    if f.cores_used is not None:
        row("CPU", f"{f.cores_used:.1f} of {f.cores:g} cores")
    if f.rss_peak_mb is not None:
        grew = f"{f.rss_growth_mb:+.0f} MB in the second half" if f.rss_growth_mb is not None else ""
        row("memory", f"{f.rss_peak_mb:.0f} MB at most", grew)
    return table


def _bars(rows: Iterable[tuple[str, float, str]]) -> Table:
    rows = list(rows)
    most = max(value for _, value, _ in rows)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", min_width=12)
    table.add_column(justify="right", min_width=9)
    table.add_column(style="cyan")
    for name, value, words in rows:
        table.add_row(name, words, "█" * round(_BAR * value / most) if most > 0 else "")
    return table


def as_json(figures: Figures, rate: EngineRate | None, gpu_unknown: str) -> Mapping[str, Any]:
    """Everything, with the machine it was measured on."""
    return {
        "machine": machine() | {"gpu": figures.gpu.name if figures.gpu is not None else f"unknown: {gpu_unknown}"},
        "figures": asdict(figures)
        | {
            "fps": figures.fps,
            "ms_per_frame": 1000 / figures.fps if figures.fps else None,
            "lost": figures.lost,
            "jain": jain(list(figures.delivered.values())),
            "of_bound": figures.of_bound,
            "bound_batch": rate.batch if rate is not None else None,
        },
        "diagnosis": diagnose(figures),
    }
