"""The plots of the batching benchmark (needs matplotlib: ``pip install streampose[bench]``)."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Ours in one strong colour, the others quieter; told apart without colour by their marks, too.
STYLES = {
    "fixed 1": ("#9aa3ad", "x"),
    "fixed 8": ("#6f7a86", "s"),
    "timeout 16": ("#2a9d8f", "^"),
    "aimd": ("#e9a23b", "D"),
    "deferred": ("#8e6bbf", "v"),
    "window": ("#4f8fcb", "P"),
    "latency": ("#d62839", "o"),
}
LABELS = {
    "latency": "LatencyBatch (streampose)",
    "fixed 1": "one by one",
    "fixed 8": "fixed 8",
    "timeout 16": "16 or timeout (Triton)",
    "aimd": "AIMD (Clipper)",
    "deferred": "deferred (Symphony)",
    "window": "adaptive window (Roboflow)",
}
TITLES = {"gpu": "A GPU: a batch costs much, a frame little", "cpu": "A CPU: a frame costs, a batch next to nothing"}


mpl.rcParams |= {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "streampose", "axes.axisbelow": True}


def save(figure: Figure, path: Path) -> None:
    """PNG, and SVG beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")
    figure.savefig(path.with_suffix(".svg"), facecolor="white", metadata={"Date": None})
    plt.close(figure)


def draw(rows: list[dict], path: Path) -> None:
    """Goodput (above) and latency (below) over load, for each curve."""
    curves = list(dict.fromkeys(row["cell"]["curve"] for row in rows))
    figure, axes = plt.subplots(
        2, len(curves), figsize=(10.5, 6.6), sharex=True, squeeze=False, layout="constrained", height_ratios=(1.15, 1)
    )
    for column, curve in enumerate(curves):
        mine = sorted((row for row in rows if row["cell"]["curve"] == curve), key=lambda row: row["cell"]["load"])
        loads = [row["cell"]["load"] for row in mine]
        budget_ms = mine[0]["cell"]["budget_s"] * 1e3
        above, below = axes[0][column], axes[1][column]
        bounds = [row["blind_bound"] / row["captured"] for row in mine]
        above.fill_between(loads, [100 * b for b in bounds], 104, color="#eef0f3", lw=0, label="no schedule gets here")
        for name, (colour, mark) in STYLES.items():
            points = [row["policies"][name] for row in mine]
            ours = name == "latency"
            style = {"color": colour, "marker": mark, "ms": 5, "lw": 2.6 if ours else 1.4, "zorder": 3 if ours else 2}
            fresh = [100 * p["goodput"] / row["captured"] for p, row in zip(points, mine, strict=True)]
            above.plot(loads, fresh, label=LABELS[name], **style)
            below.plot(loads, [p["p99_ms"] for p in points], **style)
        below.axhline(budget_ms, color="#333", lw=1, ls=(0, (4, 3)))
        below.annotate(
            "budget", (loads[0], budget_ms), xytext=(0, 4), textcoords="offset points", color="#333", fontsize=9
        )
        above.set(title=TITLES.get(curve, curve), ylim=(-2, 104))
        below.set(xlabel="load (1 = all the engine can do)", ylim=(0, 3 * budget_ms), xlim=(0, max(loads) * 1.02))
        for ax in (above, below):
            ax.grid(color="#e3e6ea", lw=0.8)
            ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("frames delivered in time, %")
    axes[1][0].set_ylabel("latency, 99th percentile, ms")
    handles, labels = axes[0][0].get_legend_handles_labels()
    order = [labels.index(LABELS["latency"]), *(i for i, name in enumerate(labels) if name != LABELS["latency"])]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=4, frameon=False
    )
    save(figure, path)
