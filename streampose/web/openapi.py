"""The JSON interface, described."""

from __future__ import annotations

from typing import Any

from streampose.web.schemas import NAME, SCHEMAS, ref

__all__ = ["document"]

_JSON, _SDP = "application/json", "application/sdp"

_ORIGINS = (
    "Pages of other origins are refused, except those that --allow-origin names: they are answered with CORS headers, "
    "their preflights (OPTIONS with Access-Control-Request-Method) by 204 at any path. They send the token as Bearer."
)

_ID = {"name": "id", "in": "path", "required": True, "schema": NAME}
_ANY_ID = _ID | {"schema": {"type": "string"}}


def _says(text: str, schema: dict[str, Any] | None = None, kind: str = _JSON) -> dict[str, Any]:
    return {"description": text} | ({} if schema is None else {"content": {kind: {"schema": schema}}})


def _answers(*errors: int, **good: dict[str, Any]) -> dict[str, Any]:
    words = {
        400: "not understood",
        403: "asked by another site's page that --allow-origin does not name",
        404: "no such stream or session",
        405: "not with this method",
        408: "the body took too long",
        409: "not now, or taken",
        410: "the stream has ended",
        412: "for another ICE session",
        413: "too large",
        415: "of another kind",
        421: "not this server's name",
        422: "understood, but it cannot be",
        428: "If-Match is missing",
        429: "somebody guesses the token, and too many wait",
        503: "no room, or no picture, now",
    }
    found = {code.removeprefix("ok"): answer for code, answer in good.items()}
    found["401"] = _says("a token is needed", ref("Error"))
    return found | {str(code): _says(words[code], ref("Error")) for code in (403, 421, 429, *errors)}


def _takes(schema: dict[str, Any], kind: str = _JSON) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}


# Without the token, too.
_OPTIONS = {
    "summary": "What is taken here (Accept-Post), and the ICE servers (Link) for who has the token",
    "responses": {
        code: answer for code, answer in _answers(ok204=_says("it is in the headers")).items() if code != "401"
    },
}
_OPTIONS_OF_A_SESSION = _OPTIONS | {"summary": "What is taken here (Accept-Patch)"}


def document(version: str) -> dict[str, Any]:
    """The OpenAPI document, as plain data."""
    body_errors = (400, 408, 413, 415)
    stream, text, binary = ref("Stream"), {"type": "string"}, {"type": "string", "format": "binary"}
    streams = {"type": "object", "required": ["streams"], "properties": {"streams": {"type": "array", "items": stream}}}
    new = {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "source"],
        "properties": {"id": NAME, "source": text},
    }
    name = {"type": "object", "additionalProperties": False, "required": ["name"], "properties": {"name": text}}
    paths: dict[str, Any] = {
        "/api/openapi.json": {
            "get": {"summary": "This document", "responses": _answers(ok200=_says("it", {"type": "object"}))}
        },
        "/api/config": {
            "get": {"summary": "What a page needs to begin", "responses": _answers(ok200=_says("it", ref("Config")))}
        },
        "/api/streams": {
            "get": {"summary": "All public streams", "responses": _answers(ok200=_says("them", streams))},
            "post": {
                "summary": "Add a stream of the network, or a drawn one",
                "requestBody": _takes(new),
                "responses": _answers(*body_errors, 409, 422, 503, ok201=_says("it joins", stream)),
            },
        },
        "/api/streams/{id}": {
            "parameters": [_ID],
            "get": {"summary": "One stream", "responses": _answers(404, ok200=_says("it", stream))},
            "patch": {
                "summary": "Change its settings",
                "requestBody": _takes(ref("Settings")),
                "responses": _answers(*body_errors, 404, 422, ok200=_says("changed", stream)),
            },
            "delete": {
                "summary": "Remove it",
                "responses": _answers(404, 409, ok204=_says("it is gone")),
            },
        },
        "/api/streams/{id}/poses": {
            "parameters": [_ID],
            "get": {
                "summary": "Its poses, as they come: Server-Sent Events, or a WebSocket where that is asked for",
                "responses": _answers(
                    404,
                    503,
                    ok200=_says("one event a frame, its data of the schema Poses", text, "text/event-stream"),
                    ok204=_says("the stream has ended"),
                )
                | {"101": _says("a WebSocket: one text a frame, of the schema Poses")},
            },
        },
        "/api/streams/{id}/picture.jpg": {
            "parameters": [_ID],
            "get": {
                "summary": "Its newest picture, drawn; X-Frame and X-Time say of which frame",
                "responses": _answers(404, 410, 503, ok200=_says("it", binary, "image/jpeg")),
            },
        },
        "/api/streams/{id}/video.mjpeg": {
            "parameters": [_ID],
            "get": {
                "summary": "Its drawn pictures, for programs and for an <img> of the same origin",
                "responses": _answers(404, 410, 503, ok200=_says("they", binary, "multipart/x-mixed-replace")),
            },
        },
        "/api/models": {"get": {"summary": "The models", "responses": _answers(ok200=_says("they", ref("Models")))}},
        "/api/models/current": {
            "put": {
                "summary": "Load another model, for all streams",
                "requestBody": _takes(name),
                "responses": _answers(*body_errors, 409, 422, ok202=_says("it is being loaded", ref("Models"))),
            }
        },
        "/whip": {"post": _session("Publish video (WHIP, RFC 9725) for oneself alone", 409), "options": _OPTIONS},
        "/whip/{id}": {
            "parameters": [_ID],
            "post": _session("Publish video (WHIP) under this name", 409),
            "options": _OPTIONS | {"parameters": [_ANY_ID]},
        },
        "/whep/{id}": {
            "parameters": [_ID],
            "post": _session("Play a stream's drawn video (WHEP)", 404, 410),
            "options": _OPTIONS | {"parameters": [_ANY_ID]},
        },
        "/session/{session}": {
            "parameters": [{"name": "session", "in": "path", "required": True, "schema": text}],
            "patch": {
                "summary": "More ICE candidates",
                "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": text}],
                "requestBody": _takes(text, "application/trickle-ice-sdpfrag"),
                "responses": _answers(*body_errors, 404, 412, 422, 428, ok204=_says("taken")),
            },
            "delete": {"summary": "End a session", "responses": _answers(404, ok200=_says("it has ended"))},
            "options": _OPTIONS_OF_A_SESSION,
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "streampose", "version": version, "description": _ORIGINS},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _session(summary: str, *errors: int) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "summary": summary,
        "requestBody": _takes(text, _SDP),
        "responses": _answers(400, 408, 413, 415, 503, *errors, ok201=_says("the answer", text, _SDP)),
    }
