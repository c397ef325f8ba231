"""The server described by OpenAPI 3.1; its answers by ``recognition.schema.json``."""

import json
from importlib import resources
from typing import Any

from tsm_ref import __version__
from tsm_ref.recognition.asked import CROPS
from tsm_ref.serve import problems
from tsm_ref.serve.models import MOST_CLASSES, POLICIES, Shelf
from tsm_ref.serve.settings import Settings

__all__ = ["described"]

Tree = dict[str, Any]
REASONS = {
    "400": "a parameter that cannot be, an empty body, a form that is cut or holds no file",
    "403": "a page of another origin asked",
    "408": "the file did not come in time",
    "413": "the file is larger than --max-bytes",
    "415": "the media type says that it is no video",
    "421": "the server was called by a name that is not its own",
    "422": "not a video, a damaged one, or one that takes longer than --timeout",
    "500": "a bug",
    "503": "all places are taken",
    "507": "there is no room on the disk",
}
WITHOUT_BODY = ("421", "500")


def described(shelf: Shelf, settings: Settings) -> Tree:
    """The document for these models and bounds."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tsm_ref",
            "version": __version__,
            "description": "Recognise videos with Temporal Shift Module networks. Frames go to the "
            "WebSocket /stream, which OpenAPI has no words for: docs/serving.md describes it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/recognize": {"post": _recognize(shelf, settings)},
            "/models": {"get": _get("models", "what is served", _json("Models"))},
            "/health": {"get": _get("health", "whether it answers", _json("Health"))},
            "/metrics": {"get": _get("metrics", "counts, for Prometheus", _text("text/plain"))},
            "/openapi.json": {"get": _get("openapi", "this", _object())},
            "/": {"get": _get("page", "a page for people", _text("text/html"))},
        },
        "components": {
            "schemas": {
                "Recognition": _recognition(),
                "Problem": PROBLEM,
                "Models": MODELS,
                "Health": HEALTH,
            }
        },
    }


def _recognition() -> Tree:
    """The schema of the answers, its references pointing into this document."""
    text = resources.files("tsm_ref.recognition").joinpath("recognition.schema.json").read_text()
    schema: Tree = json.loads(text.replace('"#/$defs/', '"#/components/schemas/Recognition/$defs/'))
    del schema["$schema"]
    return schema


def _recognize(shelf: Shelf, settings: Settings) -> Tree:
    names = [served.model.name for served in shelf]
    policies = {"type": "string", "enum": list(POLICIES)}
    seconds = {"type": "number", "minimum": 0.001, "maximum": 1e6}
    parameters = (
        ("model", {"type": "string", "enum": names}, f"default: {shelf.default}"),
        ("top", {"type": "integer", "minimum": 1, "maximum": MOST_CLASSES}, "classes to list"),
        ("sampling", policies, "which frames are seen, instead of what the profile says"),
        ("crops", {"type": "integer", "enum": list(CROPS)}, "crops of each frame"),
        ("window", seconds, "sliding windows of so many seconds"),
        ("stride", seconds, "one every so many seconds"),
        ("name", {"type": "string"}, "what the file is called, for the answer; never opened"),
    )
    binary: Tree = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
    form = {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary"}},
            "additionalProperties": False,
        }
    }
    return {
        "operationId": "recognize",
        "summary": "a video to its classes and timeline",
        "description": f"At most {settings.max_bytes} bytes, in {settings.timeout:g} s.",
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            for name, schema, text in parameters
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": binary,
                "video/mp4": binary,
                "multipart/form-data": form,
            },
        },
        "responses": {
            "200": {"description": "what was recognised", "content": _json("Recognition")},
            **{status: _refused(status) for status in REASONS},
        },
    }


def _get(name: str, what: str, content: Tree) -> Tree:
    return {
        "operationId": name,
        "summary": what,
        "responses": {
            "200": {"description": what, "content": content},
            **{status: _refused(status) for status in WITHOUT_BODY},
        },
    }


def _refused(status: str) -> Tree:
    schema = {"$ref": "#/components/schemas/Problem"}
    answer: Tree = {
        "description": REASONS[status],
        "content": {problems.MEDIA_TYPE: {"schema": schema}},
    }
    if status in ("503", "507"):
        seconds = {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}
        answer["headers"] = {"Retry-After": seconds}
    return answer


def _json(name: str) -> Tree:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _object() -> Tree:
    return {"application/json": {"schema": {"type": "object"}}}


def _text(kind: str) -> Tree:
    return {kind: {"schema": {"type": "string"}}}


TEXT: Tree = {"type": "string"}
COUNT: Tree = {"type": "integer", "minimum": 0}
TEXTS: Tree = {"type": "array", "items": TEXT}

PROBLEM: Tree = {
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": TEXT,
    },
    "additionalProperties": False,
}
HEALTH: Tree = {
    "type": "object",
    "required": ["status", "version", "files", "streams"],
    "properties": {"status": {"const": "ok"}, "version": TEXT, "files": COUNT, "streams": COUNT},
    "additionalProperties": False,
}
MODEL: Tree = {
    "type": "object",
    "required": [
        *("name", "sha256", "engine", "precision", "classes", "segments", "sampling", "streams"),
        "warnings",
    ],
    "properties": {
        "name": TEXT,
        "sha256": TEXT,
        "engine": TEXT,
        "precision": {"enum": ["float32", "bfloat16", "int8"]},
        "classes": TEXTS,
        "segments": {"type": "integer", "minimum": 1},
        "sampling": TEXT,
        "streams": {"type": "boolean"},
        "why_not": TEXT,
        "warnings": TEXTS,
    },
    "additionalProperties": False,
}
MODELS: Tree = {
    "type": "object",
    "required": ["default", "models"],
    "properties": {"default": TEXT, "models": {"type": "array", "items": MODEL, "minItems": 1}},
    "additionalProperties": False,
}
