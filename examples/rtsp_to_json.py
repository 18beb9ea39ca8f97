"""Several cameras through one engine, one JSON Lines file each.

python examples/rtsp_to_json.py rtsp://10.0.0.5/main rtsp://10.0.0.6/main
"""

import asyncio
import sys

import streampose as sp


async def main(*urls: str) -> bool:
    """Whether any failed."""
    cameras = [
        sp.Stream(
            name=f"cam{i}",
            source=sp.open_source(url),
            sinks=[sp.JsonlSink(f"cam{i}.jsonl")],
            tracker=sp.Tracker(),
        )
        for i, url in enumerate(urls, 1)
    ]
    estimator = await asyncio.to_thread(sp.load_estimator)
    async with sp.Pipeline(cameras, estimator, policy=sp.LatencyBatch(budget_s=0.2)) as pipeline:
        try:
            await pipeline.run()
        finally:  # at Ctrl-C, too
            for name, report in pipeline.reports.items():
                print(name, report.outcome, report.error or "")
    return any(report.error for report in pipeline.reports.values())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:])))
    except KeyboardInterrupt:  # outputs are whole all the same
        sys.exit(130)
    except sp.StreamposeError as error:
        sys.exit(str(error))
