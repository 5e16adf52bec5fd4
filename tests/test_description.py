"""The OpenAPI description of the built service, and that what it describes holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import World, another, case, serving

from models.movie import Movie
from serving.schema import BatchRequest


def test_a_client_made_from_the_description_can_send_a_batch(service: str) -> None:
    """What generators read: a list of movies, each with a type of its own, and no other type in its place."""
    schemas = httpx.get(f"{service}/openapi.json").json()["components"]["schemas"]
    assert schemas["BatchRequest"]["properties"]["movies"]["items"] == {"$ref": "#/components/schemas/Movie"}
    assert schemas["Movie"]["required"] == ["title"]
    assert schemas["PredictRequest"]["properties"]["movie"]["$ref"] == "#/components/schemas/Movie"


@pytest.mark.recorded
def test_the_recorded_call_of_a_generated_client_works(service: str) -> None:
    assert "BatchRequest(movies=[Movie(title='A')])" in case("14-openapi-client-batch")["do"]
    body = BatchRequest(movies=[Movie(title="A")]).model_dump(mode="json")
    items = httpx.get(f"{service}/openapi.json").json()["components"]["schemas"]["BatchRequest"]["properties"]["movies"]
    assert items["items"]["$ref"].endswith("/Movie")
    assert httpx.post(f"{service}/predict/batch", json=body).json()["results"][0]["prediction"]["rating"] > 0


def test_the_description_is_complete_and_what_it_describes_holds(
    service: str, world: World, bodies: list[dict[str, Any]], tmp_path: Path
) -> None:
    """schemathesis asks everything that the OpenAPI description allows, and much that it does not.

    The service that it asks lacks nothing: it records, and has a TMDB. What is missing of these is a 5xx.
    """
    spec = httpx.get(f"{service}/openapi.json").json()
    assert set(spec["paths"]) == {
        *("/predict", "/predict/batch", "/predict/text", "/predict/tmdb", "/feedback"),
        *("/health", "/ready", "/model/info", "/upcoming"),
    }
    assert httpx.get(f"{service}/docs.json").json() == spec  # the interactive page shows the same
    whole = {"RECORD_PREDICTIONS": "true", "WAREHOUSE_URL": f"sqlite:///{tmp_path}/w.db", "TMDB_API_TOKEN": "token"}
    with serving(bodies) as tmdb, another(world, **whole, TMDB_BASE_URL=tmdb) as url:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--max-examples", "25",
                "--seed", "1", "--generation-database", "none", "--checks",
                "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=400,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
