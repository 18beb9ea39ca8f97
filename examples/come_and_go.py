"""Streams that join, change and leave while the others run, as somebody says on standard input.

python examples/come_and_go.py

door=rtsp://10.0.0.5/a   joins; if there is a door already, takes its place
door=                    leaves
"""

import asyncio
import sys
import threading

import streampose as sp


class Headcount:
    """Prints how many people are there, whenever that changes. Called on a thread of its own."""

    wants_picture = False

    def open(self, stream: str, info: sp.StreamInfo) -> None:
        self.people = -1

    def write(self, result: sp.Result) -> None:
        if len(result.poses) != self.people:
            self.people = len(result.poses)
            print(f"{result.frame.stream}: {self.people} people", flush=True)

    def close(self) -> None:
        pass


async def change(pipeline: sp.Pipeline, name: str, source: str) -> None:
    if not source:
        report = await pipeline.remove(name)
        print(f"{name} has left: {report.outcome}", flush=True)
        return
    stream = sp.Stream(name=name, source=sp.open_source(source), sinks=[Headcount()], tracker=sp.Tracker())
    if name in pipeline.reports:
        await pipeline.replace(stream)
    else:
        await pipeline.add(stream)
    print(f"{name} is {source} now", flush=True)


def typed_lines() -> asyncio.Queue[str]:
    """What is typed, and "" at its end. Nothing interrupts the reading, so it has a thread that no end waits for."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        line = "\n"
        while line:
            line = sys.stdin.readline()
            loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    return lines


async def main() -> None:
    estimator = await asyncio.to_thread(sp.load_estimator)
    async with sp.Pipeline([], estimator, keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        lines = typed_lines()
        try:
            while line := await lines.get():
                name, _, source = line.strip().partition("=")
                try:
                    await change(pipeline, name, source)
                except sp.StreamposeError as error:  # the others go on
                    print(error, flush=True)
        finally:  # at Ctrl-C, too
            pipeline.stop()
            await running


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
