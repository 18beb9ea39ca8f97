"""Pictures on a device, in buffers that are written over."""

from __future__ import annotations

import numpy as np

from streampose.inference.runner import Uploads


def test_pictures_that_were_sent_last_are_left_alone():
    uploads = Uploads("cpu")
    before = None
    for value in range(5):
        sent = uploads(np.full((4, 3), value, np.uint8))
        assert (sent.numpy() == value).all()
        assert before is None or (before.numpy() == value - 1).all()
        before = sent
