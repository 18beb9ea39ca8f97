"""A sink of your own: who raises a hand? Runs on drawn figures. Where a function is enough, `sp.CallSink` takes it.

python examples/custom_sink.py
"""

import asyncio

import streampose as sp

WRIST, SHOULDER = (sp.COCO_17.points.index(name) for name in ("right_wrist", "right_shoulder"))


class RaisedHands:
    """Prints once when somebody's right hand goes up. Called on a thread of its own."""

    wants_picture = False

    def __init__(self) -> None:
        self.up: set[int] = set()

    def open(self, stream: str, info: sp.StreamInfo) -> None:
        print(f"watching {stream}, {info.width_px}×{info.height_px}")

    def write(self, result: sp.Result) -> None:
        people = result.poses.to(sp.COCO_17)
        assert people.ids is not None  # its stream has a tracker
        raised = (people.points[:, WRIST, 1] < people.points[:, SHOULDER, 1]) & (people.scores[:, WRIST] > 0.3)
        now = set(people.ids[raised].tolist())
        for person in sorted(now - self.up):
            print(f"{result.frame.time_s:.1f} s: person {person} raises a hand")
        self.up = now

    def close(self) -> None:
        print("done")


async def main() -> None:
    source = sp.open_source("synthetic:?people=2&seconds=10", live=False)
    stream = sp.Stream(name="figures", source=source, sinks=[RaisedHands()], tracker=sp.Tracker())
    estimators = await asyncio.to_thread(sp.load_estimators, throughput=True)
    async with sp.Pipeline([stream], estimators) as pipeline:
        await pipeline.run()


if __name__ == "__main__":
    asyncio.run(main())
