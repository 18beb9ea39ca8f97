"""From figures to words: each rule is exercised, and stays silent where it must."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.diagnosis import _RULES, diagnose
from streampose.figures import Figures, Gpu, jain

# A healthy run of a file: engines full, and as fast as they are alone.
FILE = Figures(
    live=False,
    elapsed_s=10.0,
    captured=800,
    delivered={"clip": 800},
    latency_s={"p50": 0.05, "p90": 0.06, "p99": 0.07},
    stages_s={"decode": 0.001, "wait": 0.03, "preprocess": 0.001, "detect": 0.01, "finish": 0.001},
    reading=0.1,
    engines=2,
    busy=0.97,
    batches={4: 200},
    max_batch=4,
    batch_s=0.05,
    bound_fps=85.0,
    cores=2,
    cores_used=1.95,
    rss_peak_mb=400.0,
    rss_growth_mb=1.0,
)
# Eight cameras that are too many.
LIVE = replace(
    FILE,
    live=True,
    budget_s=0.2,
    source_fps=240.0,
    captured=2400,
    delivered={f"s{i}": 100 for i in range(8)},
    dropped={"ingress overflow": 1500, "ingress late": 100},
    on_time=1.0,
    reading=0.0,
    max_batch=16,
    batches={7: 60, 8: 60},
)
# One camera that is nothing.
CALM = replace(
    LIVE,
    source_fps=30.0,
    captured=300,
    delivered={"door": 300},
    dropped={},
    busy=0.3,
    batches={1: 300},
    batch_s=0.01,
    cores_used=0.6,
)
GPU = Gpu(name="Some GPU", utilisation=0.3, memory_peak_mb=900.0, memory_mb=16000.0)

CASES: dict[str, tuple[Figures, str]] = {
    "nothing": (replace(FILE, delivered={"clip": 0}, captured=0), "nothing was delivered"),
    "gpu unused": (replace(FILE, gpu_unused="CUDA libraries are missing"), "not used: CUDA libraries are missing"),
    "hopeless": (replace(LIVE, batches={1: 100}, batch_s=0.4), "one frame alone takes 400 ms, more than the budget"),
    "decode": (
        replace(FILE, reading=0.98, busy=0.3, stages_s={"decode": 0.0121}),
        "decode-bound: reading takes 12 ms a frame and the engines idle 70% of the time: use --hwaccel auto",
    ),
    "decode on a device": (
        replace(FILE, reading=0.98, busy=0.3, decoder="cuda"),
        "run several files at once: each has a decoder",
    ),
    "finish": (replace(FILE, busy=0.3, stages_s={"finish": 0.012}), "finish-bound: ids, smoothing and drawing"),
    "small batches": (
        replace(LIVE, budget_s=0.033, batches={1: 300, 2: 20, 3: 1}, batch_s=0.02),
        "batch never above 2: the budget of 33 ms is too tight for more (a batch takes 20 ms)",
    ),
    "overload": (LIVE, "bring 240 fps, 80 are done, 67% are dropped; 2 of these 8 streams fit"),
    "dropped while idle": (replace(LIVE, busy=0.5), "dropped (ingress overflow) though the engines idle 50%"),
    "idle": (CALM, "engine idle 70%: the sources give only 30 fps: about 3 such streams would fit"),
    "gpu starved": (
        replace(FILE, on_gpu=True, gpu=GPU),
        "the GPU idles 70% of the time: what the CPU does for each batch",
    ),
    "preprocess": (
        replace(FILE, stages_s={"preprocess": 0.008, "crop": 0.002}),
        "resizing and cropping take 41% of the engines' time",
    ),
    "below the bound": (replace(FILE, bound_fps=160.0), "0.50 of what ONNX Runtime alone does here (160 fps): 59%"),
    "at the limit": (FILE, "engine-bound: the engines are busy 97% of the time, 0.94 of what"),
    "late": (
        replace(LIVE, latency_s={"p99": 0.25}, on_time=0.9),
        "p99 of 250 ms is over the budget of 200 ms (90.0% of the frames are within it)",
    ),
    "unfair": (replace(LIVE, delivered={"a": 400, "b": 100}), "unfair: b got 100 frames, a 400 (Jain 0.74)"),
    "elsewhere": (replace(FILE, cores_used=1.1), "got 1.1 of 2 cores: other processes take the rest"),
    "memory": (replace(FILE, rss_growth_mb=300.0, elapsed_s=20.0), "memory grew by 300 MB"),
    "short": (replace(FILE, delivered={"clip": 50}), "only 50 frames"),
}


@pytest.mark.parametrize(("figures", "words"), CASES.values(), ids=CASES)
def test_each_rule_speaks(figures: Figures, words: str):
    assert any(words in line for line in diagnose(figures)), diagnose(figures)


def test_every_rule_has_a_case():
    silent = [rule.__name__ for rule in _RULES if not any(rule(figures) for figures, _ in CASES.values())]
    assert not silent


def test_reading_that_holds_up_a_live_run_is_named_and_nothing_is_promised():
    """40 images of 4000 × 3000, of which each takes 0.86 s to read, played at 30 a second."""
    slow = replace(
        CALM, captured=12, delivered={"d": 12}, busy=0.03, reading=1.0, decoder="none", stages_s={"decode": 0.86}
    )
    for figures in (slow, replace(slow, live=False, budget_s=None, source_fps=None)):
        words = " ".join(diagnose(figures))
        assert "decode-bound: reading takes 860 ms a frame" in words
        assert "smaller images" in words
        assert "would fit" not in words
    software = replace(slow, decoder="software")
    assert "--hwaccel" in " ".join(diagnose(software))
    # A camera's read waits: what it computes is little.
    camera = replace(CALM, captured=100, delivered={"d": 100}, reading=1.0)
    assert not any("decode-bound" in words or "would fit" in words for words in diagnose(camera))


def test_a_healthy_run_gets_one_sentence():
    assert len(diagnose(FILE)) == 1
    assert len(diagnose(CALM)) == 1
    assert len(diagnose(LIVE)) == 1
    plain = replace(FILE, busy=0.7)
    assert diagnose(plain) == ["nothing stands out: 80 fps, the engines are busy 70% of the time"]


def test_no_advice_against_itself():
    # A file has no budget and no overload; a source without decoding is not told to decode elsewhere.
    assert not any("budget" in line or "overloaded" in line for line in diagnose(replace(FILE, dropped={"x": 700})))
    assert not any("hwaccel" in line for line in diagnose(replace(FILE, reading=1.0, busy=0.1, decoder="none")))
    # Where even one frame is too slow, a longer budget for larger batches is no advice.
    # Where others take the CPU, the rate of the engines alone says nothing of the pipeline.
    shared = diagnose(replace(FILE, bound_fps=160.0, cores_used=1.0))
    assert not any("ONNX Runtime alone" in line for line in shared)
    assert any("other processes" in line for line in shared)
    # A budget that would allow twice the batch twice over is not what keeps batches small.
    assert not any("batch never above" in line for line in diagnose(replace(LIVE, batches={1: 500}, batch_s=0.03)))
    # In a few seconds buffers fill up: nothing of that is a leak.
    assert not any("memory" in line for line in diagnose(replace(FILE, rss_growth_mb=300.0)))
    hopeless = diagnose(replace(LIVE, batches={1: 100}, batch_s=0.4, latency_s={"p99": 0.5}))
    assert not any("batch never above" in line or "p99" in line for line in hopeless)


# Nothing, or what a clock can tell.
SHARE, SECONDS = st.just(0.0) | st.floats(1e-3, 1), st.just(0.0) | st.floats(1e-3, 1e4)
NAME = st.text("ab-1", max_size=3)


@given(
    figures=st.builds(
        Figures,
        live=st.booleans(),
        budget_s=st.none() | st.floats(1e-3, 10),
        elapsed_s=SECONDS,
        captured=st.integers(0, 10_000),
        delivered=st.dictionaries(NAME, st.integers(0, 10_000), min_size=1, max_size=4),
        dropped=st.dictionaries(NAME, st.integers(0, 10_000), max_size=2),
        on_time=st.none() | SHARE,
        latency_s=st.dictionaries(st.sampled_from(["p50", "p99"]), SECONDS),
        stages_s=st.dictionaries(st.sampled_from(["decode", "preprocess", "detect", "finish"]), SECONDS),
        reading=SHARE,
        source_fps=st.none() | SECONDS,
        busy=SHARE,
        batches=st.dictionaries(st.integers(1, 32), st.integers(1, 1000)),
        max_batch=st.integers(1, 32),
        batch_s=st.none() | SECONDS,
        on_gpu=st.booleans(),
        bound_fps=st.none() | SECONDS,
        gpu=st.none() | st.just(GPU),
        cores=st.integers(1, 64),
        cores_used=st.none() | st.floats(0, 64),
        rss_growth_mb=st.none() | st.floats(-1e4, 1e4),
    )
)
def test_whatever_was_measured_something_is_said_of_it(figures: Figures):
    words = diagnose(figures)
    assert words
    assert all(line and "\n" not in line and "nan" not in line.split() for line in words)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=64))
def test_jain_lies_between_one_for_all_and_one_for_one(shares: list[int]):
    assert 1 / len(shares) - 1e-9 <= jain(shares) <= 1 + 1e-9
    assert jain([7] * len(shares)) == pytest.approx(1)
    assert jain([1] + [0] * (len(shares) - 1)) == pytest.approx(1 / len(shares))
