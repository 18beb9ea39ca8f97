"""Pictures from your own hands: whatever gives arrays is a source; here OpenCV's reader.

python examples/push_frames.py clip.mp4      (or 0, a webcam)
"""

import sys
import threading

import cv2

import streampose


def feed(source: streampose.PushSource, capture: cv2.VideoCapture) -> None:
    try:
        while (read := capture.read())[0] and source.push(read[1]):
            pass
    finally:  # without its end, whoever reads would wait for ever
        source.end()


def main(name: str) -> None:
    capture = cv2.VideoCapture(int(name) if name.isdigit() else name)
    if not capture.isOpened():
        sys.exit(f"{name} cannot be opened")
    # What is not live waits until every picture has been taken, and its time goes by its rate.
    fps = capture.get(cv2.CAP_PROP_FPS)
    source = streampose.PushSource(live=name.isdigit(), rate=fps if fps > 0 else 30)
    threading.Thread(target=feed, args=(source, capture), daemon=True).start()
    for result in streampose.results(source):
        for person in result.poses:
            x, y, score = person["nose"]
            print(f"frame {result.frame.index}: person {person.id} has the nose at {x:.0f}, {y:.0f} ({score:.0%} sure)")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
    except streampose.StreamposeError as error:
        sys.exit(str(error))
