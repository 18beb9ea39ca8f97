"""For which shapes TensorRT builds its engine."""

from __future__ import annotations

import onnx

__all__ = ["shape_profiles"]

# Where it looks for the fastest kernels: what a busy pipeline mostly has.
_USUAL_BATCH = 8


def shape_profiles(graph: bytes, max_batch: int) -> dict[str, str]:
    """TensorRT's shape profile as options of its provider: from one item to the largest bucket.

    Without it an engine is built for the first shape that comes and built again, for minutes, when a larger one does.

    Args:
        graph: the model.
        max_batch: the most items of a run; it is padded to a power of two.

    Returns:
        Empty where nothing is open, or more than the batch: the runtime then goes by the shapes that come.
    """
    model = onnx.load_from_string(graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or not (dims := inputs[0].type.tensor_type.shape.dim):
        return {}
    first, *rest = dims
    if first.HasField("dim_value") or not all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in rest):
        return {}
    most = 1 << (max_batch - 1).bit_length()
    item = "x".join(str(dim.dim_value) for dim in rest)
    return {
        f"trt_profile_{kind}_shapes": f"{inputs[0].name}:{size}x{item}"
        for kind, size in (("min", 1), ("opt", min(_USUAL_BATCH, most)), ("max", most))
    }
