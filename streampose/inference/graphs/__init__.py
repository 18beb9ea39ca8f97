"""What happens around a model, as part of its graph: bytes of pictures in, people or key points in picture pixels out.

`fused.py` puts it together, of `sampler.py` (pixels to the model's input), `people.py` and `keypoints.py` (its outputs
to coordinates), all written with `builder.py`. The same work in NumPy and OpenCV, which these are measured against, is
`preprocess.py`, `boxes.py` and `heatmap.py`.

`suppression.py`, `closing.py`, `depthwise.py` and `biases.py` write a model itself anew, for what a GPU does better
with, and `shuffles.py` for a CPU.
"""

from streampose.inference.graphs.biases import merged
from streampose.inference.graphs.closing import closed
from streampose.inference.graphs.depthwise import wider
from streampose.inference.graphs.fused import fuse_crops, fuse_pictures
from streampose.inference.graphs.shuffles import gathered

__all__ = ["closed", "fuse_crops", "fuse_pictures", "gathered", "merged", "wider"]
