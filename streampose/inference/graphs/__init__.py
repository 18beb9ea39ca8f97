"""What happens around a model, as part of its graph: bytes of pictures in, people or key points in picture pixels out.

`fused.py` puts it together, of `sampler.py` (pixels to the model's input), `people.py` and `keypoints.py` (its outputs
to coordinates), all written with `builder.py`. The same work in NumPy and OpenCV, which these are measured against, is
`preprocess.py`, `boxes.py` and `heatmap.py`.
"""

from streampose.inference.graphs.depthwise import wider
from streampose.inference.graphs.fused import fuse_crops, fuse_pictures

__all__ = ["fuse_crops", "fuse_pictures", "wider"]
