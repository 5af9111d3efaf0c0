"""What OpenAPI says of the routes: bodies, answers and headers. True to the letter; tests hold the service to it."""

from typing import Any, Final

from model.labels import CLASSES, LABELS
from server.bodies import FORM_TYPE, NPY_TYPE, PICTURE_TYPES
from server.problems import (
    PROBLEMS,
    NotAnImage,
    Problem,
    RateLimited,
    SlowBody,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownType,
    WrongShape,
)

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string", "enum": [f"urn:trades-bob:{kind.slug}" for kind in (Problem, *PROBLEMS)]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "retry_after_s": {"type": "integer", "minimum": 1},
    },
}
_LABEL: Final = {"type": "string", "enum": list(LABELS)}
_ITEM_ERROR: Final = {
    "type": "object",
    "required": ["index", "status", "title", "detail"],
    "additionalProperties": False,
    "properties": {
        "index": {"type": "integer", "minimum": 0},
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string"},
    },
}
_HASHES: Final = {
    "Pixels-SHA256": {
        "description": "Hex SHA-256 of the uint8 pixels that were classified, row by row, RGB interleaved; "
        "for a batch one per image, comma-separated, `-` for an image that failed.",
        "required": True,
        "schema": {"type": "string"},
    }
}


_INFO: Final = {
    "type": "object",
    "required": ["classes", "input_size", "resize_rule", "weights_sha256", "limits"],
    "additionalProperties": False,
    "properties": {
        "classes": {"type": "array", "items": {"type": "string", "enum": list(CLASSES)}},
        "input_size": {"type": "integer", "description": "Side S of the square that is classified, in pixels."},
        "resize_rule": {"type": "string", "description": "How other pictures are brought to S x S."},
        "weights_sha256": {"type": "string"},
        "limits": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}


def openapi_document(max_images: int) -> dict[str, Any]:
    """The whole OpenAPI document of a service that takes at most `max_images` in a request."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "trades-bob", "version": "1", "description": _DESCRIPTION},
        "paths": {
            "/predict": {"post": _predict()},
            "/predict/batch": {"post": _predict_batch(max_images)},
            "/info": {"get": _get("What the service classifies, and how", _json(_INFO), busy=True)},
            "/livez": {"get": _get("The process answers", _json(_object(status={"const": "live"})))},
            "/readyz": {"get": _get("Work can be done", _json(_object(status={"const": "ready"})), busy=True)},
            "/": {"get": _get("A page for people", {"text/html": {"schema": {"type": "string"}}})},
            "/metrics": {
                "get": _get("Counts and times for Prometheus", {"text/plain": {"schema": {"type": "string"}}})
            },
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Only where the operator gave out keys."}
            }
        },
    }


_DESCRIPTION: Final = """Bird or bicycle: labels only. The label of a picture depends on its pixels and the
weights alone, never on what else is in a batch. Nothing tells a score. Errors are RFC 9457 problems; a retry after 503
costs nothing."""


def _predict() -> dict[str, Any]:
    array = {"schema": {"type": "string", "format": "binary", "description": "uint8 (H, W, 3); no pickle is read"}}
    form = {"type": "string", "format": "binary", "description": "One picture"}
    content = {**dict.fromkeys(PICTURE_TYPES, _BINARY), NPY_TYPE: array, FORM_TYPE: _form("image", form)}
    return _post("The label of one picture", content, _object(label=_LABEL))


def _predict_batch(max_images: int) -> dict[str, Any]:
    shape = f"uint8 (N, H, W, 3), N at most {max_images}; no pickle is read"
    array = {"schema": {"type": "string", "format": "binary", "description": shape}}
    forms = {"type": "array", "minItems": 1, "maxItems": max_images, "items": {"type": "string", "format": "binary"}}
    labels = {"type": "array", "items": {"anyOf": [_LABEL, {"type": "null"}]}}
    answer = _object(labels=labels)
    answer["properties"]["errors"] = {
        "type": "array",
        "items": _ITEM_ERROR,
        "description": "Only where images failed; their label is null, the others are untouched.",
    }
    return _post("The labels of many pictures, in order", {NPY_TYPE: array, FORM_TYPE: _form("images", forms)}, answer)


def _post(summary: str, content: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    refusals = (NotAnImage, Unauthorized, SlowBody, TooLarge, UnknownType, WrongShape, RateLimited, Unavailable)
    return {
        "summary": summary,
        "security": [{}, {"bearer": []}],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": summary, "headers": _HASHES, "content": _json(answer)},
            **_problems(*refusals),
        },
    }


def _get(summary: str, content: dict[str, Any], busy: bool = False) -> dict[str, Any]:
    responses = {"200": {"description": summary, "content": content}}
    return {"summary": summary, "responses": {**responses, **(_problems(Unavailable) if busy else {})}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}


def _form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": [name], "properties": {name: schema}}}


def _problems(*kinds: type[Problem]) -> dict[str, Any]:
    return {
        str(kind.status): {
            "description": f"{kind.title}. {kind.__doc__}",
            "content": {"application/problem+json": {"schema": _PROBLEM_SCHEMA}},
        }
        for kind in kinds
    }
