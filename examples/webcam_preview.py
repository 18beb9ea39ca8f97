"""A window on the webcam: skeletons, stable numbers, calm points. h shows its keys, q closes it.

python examples/webcam_preview.py [SOURCE]
"""

import asyncio
import sys

import streampose as sp


async def main(source: str = "0") -> None:
    webcam = sp.Stream(
        name="webcam",
        source=sp.open_source(source, live=True),
        sinks=[sp.WindowSink(mirror=True)],
        tracker=sp.Tracker(),
        smoother=sp.OneEuro(),
    )
    estimator = await asyncio.to_thread(sp.load_estimator)
    async with sp.Pipeline([webcam], estimator, policy=sp.LatencyBatch(budget_s=0.1)) as pipeline:
        report = (await pipeline.run())["webcam"]
    if report.error is not None:
        raise report.error


if __name__ == "__main__":
    try:
        sp.run_with_windows(main(*sys.argv[1:2]))
    except asyncio.CancelledError:  # Ctrl-C
        sys.exit(130)
    except sp.StreamposeError as error:
        sys.exit(str(error))
