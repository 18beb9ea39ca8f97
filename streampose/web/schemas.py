"""What is sent as JSON, over HTTP and data channels, as JSON Schema: the document of the interface has them all."""

from __future__ import annotations

from typing import Any

__all__ = ["NAME", "SCHEMAS", "ref"]

Schema = dict[str, Any]

NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}

_TEXT, _NUMBER, _WHOLE, _FLAG = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
_TEXT_OR_NONE = {"type": ["string", "null"]}
_NUMBER_OR_NONE = {"type": ["number", "null"]}


def ref(name: str) -> Schema:
    """Stands for one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _row(item: Schema, length: int) -> Schema:
    return _list(item) | {"minItems": length, "maxItems": length}


def _one_of(*words: str) -> Schema:
    return _TEXT | {"enum": list(words)}


def _object(required: Schema, optional: Schema | None = None, **more: Any) -> Schema:
    properties = required | (optional or {})
    return {"type": "object"} | ({"required": list(required)} if required else {}) | {"properties": properties} | more


def _message(kind: str, required: Schema | None = None, optional: Schema | None = None, **more: Any) -> Schema:
    return _object({"type": {"const": kind}} | (required or {}), optional, **more)


_SETTINGS: Schema = {
    "mode": _one_of("overlay", "rendered"),
    "budget_ms": {"type": ["integer", "null"], "minimum": 10, "maximum": 5000},
    "mirror": _FLAG,
    "smooth": _FLAG,
    "ids": _FLAG,
    "confidence": _NUMBER | {"minimum": 0, "maximum": 1},
}
_ALL_SETTINGS = _object(_SETTINGS)
_FIGURES: Schema = {
    name: _NUMBER_OR_NONE | {"description": words}
    for name, words in {
        "fps_in": "frames captured a second, lately",
        "fps_out": "poses delivered a second, lately",
        "latency_ms": "capture to delivery, lately: the median",
        "latency_p95_ms": "the same, 95th percentile",
        "captured": "frames since it began",
        "delivered": "of them with poses",
        "dropped": "of them without, dropped",
        "people": "in the last frame",
        "batch": "frames in the last frame's batch",
        "batch_ms": "median time of a batch, of all streams",
        "streams": "how many there are",
    }.items()
}
_STREAM = _object(
    {
        "id": NAME,
        "origin": _one_of("server", "api", "peer"),
        "state": _one_of("opening", "running", "lost", "ended", "stopped", "failed", "cancelled"),
        "fault": _TEXT_OR_NONE,
        "size_px": _row(_WHOLE, 2) | {"type": ["array", "null"], "description": "width, height"},
        "figures": _object({}, _FIGURES, description="null = not known yet; empty = it has not begun"),
        "settings": _ALL_SETTINGS,
    }
)
_MODELS = _object({"names": _list(_TEXT), "current": _TEXT, "loading": _TEXT_OR_NONE, "error": _TEXT_OR_NONE})
_CONFIG = _object(
    {"ice_servers": _list(_object({"urls": _TEXT}, {"username": _TEXT, "credential": _TEXT}))},
    description="as RTCPeerConnection takes it",
)

_PERSON = _object(
    {
        "id": {"type": ["integer", "null"], "description": "who it is, within an epoch"},
        "score": _NUMBER | {"description": "of the box, 0 to 1"},
        "box": _row(_NUMBER, 4) | {"description": "x1, y1, x2, y2 in pixels"},
        "points": _list(_row(_NUMBER, 3)) | {"description": "x, y in pixels and score each, in the skeleton's order"},
    }
)
_POSES: Schema = {
    "v": {"const": 1},
    "stream": _TEXT,
    "frame": _WHOLE,
    "epoch": _WHOLE | {"description": "+ 1 where the picture's size changes, and at each reconnect"},
    "pts": _WHOLE,
    "time_base": _row(_WHOLE, 2) | {"description": "numerator, denominator of pts' unit in seconds"},
    "time_s": _NUMBER,
    "wall_time_s": _NUMBER_OR_NONE,
    "size_px": _row(_WHOLE, 2) | {"description": "width, height of the picture that the pixels are of"},
    "skeleton": _TEXT,
    "latency_ms": _NUMBER_OR_NONE,
    "people": _list(ref("Person")),
    "batch": _WHOLE,
    "queue_ms": _NUMBER,
    "inference_ms": _NUMBER,
    "finish_ms": _NUMBER,
}
_OWN: Schema = {
    "rtp": _WHOLE | {"description": "the frame's RTP timestamp, 90 kHz, 32 bits"},
    "age_ms": _NUMBER | {"description": "since its arrival at the server"},
}
_SKELETON = {"names": _list(_TEXT), "edges": _list(_row(_WHOLE, 2))}
_FRAME = "One frame (docs/formats.md). names and edges are there if the skeleton is none of the server's own"
_OF_THE_SESSION = {"skipped": _WHOLE, "replaced": _WHOLE, "unsent": _WHOLE}
_HEARD = {
    "description": "What a session hears on its data channel `control`",
    "oneOf": [
        _message("hello", {"stream": NAME, "settings": _ALL_SETTINGS, "models": ref("Models")}),
        _message("settings", {"settings": _ALL_SETTINGS}),
        _message("stats", {"models": ref("Models")} | _OF_THE_SESSION, _FIGURES),
        _message("pong", {"t": _NUMBER_OR_NONE}),
        _message("error", {"message": _TEXT}),
        _message("bye", {"reason": _TEXT}),
    ],
}
_SAID = {
    "description": "What a session may say there",
    "oneOf": [
        _message("set", None, _SETTINGS, additionalProperties=False),
        _message("model", {"name": _TEXT}),
        _message("ping", {"t": _NUMBER}),
    ],
}

SCHEMAS: dict[str, Schema] = {
    "Stream": _STREAM,
    "Settings": _object({}, _SETTINGS, additionalProperties=False),
    "Models": _MODELS,
    "Config": _CONFIG,
    "Error": _object({"error": _TEXT}),
    "Person": _PERSON,
    "Poses": _object(_POSES, _SKELETON, description=_FRAME),
    "OwnPoses": _object(_POSES | _OWN, _SKELETON, description=f"{_FRAME}; of a session's own, on its channel `poses`"),
    "Heard": _HEARD,
    "Said": _SAID,
}
"""By the name that `ref` takes."""
