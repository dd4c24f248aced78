"""Pieces of the OpenAPI description that FastAPI cannot find by itself."""

from typing import Any

from mien.server.web.note_schemas import NoteBody, ReportBody
from mien.server.web.schemas import AnalyzeBody, JobOptions, ProblemDocument

_DOCUMENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}

MEANINGS = {
    400: "Malformed request",
    401: "The token is missing or wrong",
    403: "Not allowed by this server",
    404: "No such thing",
    405: "The address does not take this method",
    408: "The body came too slowly",
    409: "Not possible in this state",
    413: "Too large",
    415: "A media type the server does not read",
    416: "No such range",
    421: "The server does not go by this name",
    422: "Not as described",
    429: "This client asks too much",
    500: "An error of the server",
    501: "The server lacks a package",
    503: "Too much to do",
    507: "The server's disk is full",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of problem answers.

    Args:
        statuses: HTTP statuses, keys of `MEANINGS`.
    """
    return {
        status: {
            "description": MEANINGS[status],
            "content": _DOCUMENT,
            **({"headers": _RETRY} if status in (429, 503) else {}),
        }
        for status in statuses
    }


EVERYWHERE = (400, 401, 403, 404, 405, 421, 422, 429, 500, 503)
PROBLEMS = problems(*EVERYWHERE, 408, 413, 415, 501)
FEW_PROBLEMS = problems(*EVERYWHERE)

_FILE = {"type": "string", "format": "binary"}

ANALYZE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "array", "items": _FILE, "description": "One or many images."},
                    "url": {"type": "string", "description": "An image's URL, if the server allows it."},
                },
            }
        },
        "application/json": {"schema": {"$ref": "#/components/schemas/AnalyzeBody"}},
        "image/jpeg": {"schema": _FILE},
        "image/png": {"schema": _FILE},
        "image/webp": {"schema": _FILE},
    },
}
JOB_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {**_FILE, "description": "The video."},
                    "options": {"type": "string", "description": "JSON, as the schema JobOptions says."},
                },
            },
            "encoding": {"options": {"contentType": "application/json"}},
        }
    },
}
EXTRA_SCHEMAS = (AnalyzeBody, JobOptions, NoteBody, ProblemDocument, ReportBody)


def complete(description: dict[str, Any], *, token: bool) -> dict[str, Any]:
    """Return the description with the schemas that no route names as its own, and the token.

    Args:
        description: What FastAPI made.
        token: Whether the server asks for one.
    """
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for model in EXTRA_SCHEMAS:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    if token:
        description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"token": []}]
    return description
