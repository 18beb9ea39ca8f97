"""The short way: people in a stream, frame by frame.

python examples/three_lines.py 0          (a webcam; another model: `stream(source, model="rtmo-s")`)
"""

import asyncio
import sys

import streampose


async def main(source: str) -> None:
    async for result in streampose.stream(source):
        print(f"{result.frame.time_s:8.3f} s  {len(result.poses)} people  {result.timing.latency_s * 1000:.0f} ms")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
    except streampose.StreamposeError as error:
        sys.exit(str(error))
