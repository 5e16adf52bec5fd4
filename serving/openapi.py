"""The OpenAPI description: the routes that BentoML knows by our own schema, the other pages, errors as they are."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving import schema


class Error(BaseModel):
    """What is wrong: in one line, and for each field with its rule and the remedy."""

    error: str
    errors: list[schema.FieldError]


POSTS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "/predict": (schema.PredictRequest, schema.Prediction),
    "/predict/batch": (schema.BatchRequest, schema.Batch),
    "/predict/text": (schema.TextRequest, schema.TextPrediction),
    "/predict/tmdb": (schema.TmdbRequest, schema.TmdbPrediction),
    "/feedback": (schema.FeedbackRequest, schema.FeedbackAnswer),
}
PAGES = {
    "/health": ("The process lives", {"status": "alive"}),
    "/ready": (
        "A model is loaded, and how the threads beside it do; 503 with the reason where there is none",
        {"status": "ready", "version": "v7", "threads": {"recorder": {"state": "up", "restarts": 0}}},
    ),
    "/model/info": (
        "Which model answers, its metrics, and what became of a newer one",
        {"version": "v7", "following": {"state": "watching", "since": "2026-11-21T06:00:00+00:00"}},
    ),
    "/upcoming": (
        "Movies of the next twelve months, of the model's source, as last scored, and how earlier lists turned out",
        {"as_of": None, "source": "tmdb", "model": None, "movies": [], "past": [], "reason": "no list was made yet"},
    ),
}
STATUSES = {
    "400": "The body is wrong: field, rule and remedy of each error",
    "401": "The token is missing or wrong",
    "405": "This method is not taken here",
    "413": "The body is too large",
    "415": "The body is no application/json",
    "429": "Too many requests: Retry-After says in how many seconds there is room",
    "504": "It took too long: send fewer movies at once, or fewer with reasons and similar",
}
ALSO = {
    "/predict/tmdb": {
        "404": "TMDB has no such movie",
        "424": "TMDB gave no usable answer, or this service has no TMDB_API_TOKEN: send the movie itself to /predict",
    },
    "/feedback": {"404": "No prediction of this id was recorded", "503": "The warehouse does not answer: try again"},
    "/upcoming": {"503": "The warehouse does not answer: try again"},
}


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Return BentoML's description with everything that the service really takes and gives."""
    models = {model for pair in POSTS.values() for model in pair} | {Error}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    told = _errors(STATUSES)
    paths: dict[str, Any] = {}
    for path, (asked, given) in POSTS.items():
        known = spec["paths"][path]["post"]  # a route that BentoML does not have is a mistake here
        paths[path] = {
            "post": {
                "summary": known.get("summary") or path,
                "description": known.get("description", ""),
                "operationId": path.strip("/").replace("/", "_"),
                "tags": ["predictions"],
                "security": [{}, {"token": []}],
                "requestBody": {"required": True, "content": _json(asked)},
                "responses": {"200": {"description": "The answer", "content": _json(given)}}
                | told
                | _errors(ALSO.get(path, {})),
            }
        }
    for path, (words, example) in PAGES.items():
        content = {"application/json": {"schema": {"type": "object"}, "example": example}}
        responses: dict[str, Any] = {"200": {"description": words, "content": content}}
        responses |= {"503": {"description": "There is no model", "content": content}} if path == "/ready" else {}
        responses |= {status: told[status] for status in ("401", "405", "429", "504")} | _errors(ALSO.get(path, {}))
        operation_id = path.strip("/").replace("/", "_")
        paths[path] = {
            "get": {"summary": words, "operationId": operation_id, "tags": ["service"], "responses": responses}
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Premiere", "version": spec["info"]["version"], "description": spec["info"]["description"]},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _errors(statuses: dict[str, str]) -> dict[str, Any]:
    return {status: {"description": words, "content": _json(Error)} for status, words in statuses.items()}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
