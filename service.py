"""The service: load the model, validate a movie, predict, answer. It prepares nothing; the model takes raw movies.

Which model it serves is decided when the bento is built: `bentoml build --arg model=movie-rating:v7`. It never asks for
"latest". The model file is read without pickle; only the types that `models.estimator` names are trusted.
"""

from __future__ import annotations

import gc
from functools import lru_cache
from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel, ConfigDict, Field
from skops import io as skops_io
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.estimator import TRUSTED_TYPES, RatingModel
from models.movie import Movie

LEVEL = 0.9


class Arguments(BaseModel):
    """What is decided at build time."""

    model: str = Field(description="tag in BentoML's model store, for example movie-rating:v7")


arguments = bentoml.use_arguments(Arguments)


class ModelInfo(BaseModel):
    """Which model answers."""

    name: str
    version: str
    sha256: str = Field(description="of the stored model file")
    family: str
    source: str = Field(description="tmdb, imdb or sample")
    synthetic: bool = Field(description="true where the model learned from the synthetic sample")
    trained_at: str
    learned_until: str = Field(description="release date of the newest movie that it learned from")


class PredictRequest(BaseModel):
    """One movie to rate."""

    model_config = ConfigDict(extra="forbid")
    movie: Movie


class Prediction(BaseModel):
    """The mean rating to expect from TMDB's voters, 0 to 10, and the interval that holds it in 90 % of cases."""

    rating: float
    low: float
    high: float
    model: ModelInfo


class Served:
    """A model in memory and what is known of it."""

    def __init__(self, stored: bentoml.Model) -> None:
        path = Path(stored.path) / "mlflow_model" / "model.skops"
        self.rating_model: RatingModel = skops_io.load(path, trusted=TRUSTED_TYPES)
        facts: dict[str, Any] = dict(stored.info.metadata)
        self.metrics: dict[str, float] = facts.pop("metrics", {})
        name, _, version = str(stored.tag).partition(":")
        self.info = ModelInfo(
            name=name,
            version=version,
            learned_until=self.rating_model.learned_until_,
            **{str(k): v for k, v in facts.items()},
        )
        self.predict(Movie(title="warm up"))

    def predict(self, movie: Movie) -> Prediction:
        """Predict one movie."""
        (rating,), (low,), (high,) = self.rating_model.predict_interval([movie.facts()], LEVEL)
        return Prediction(rating=rating, low=low, high=high, model=self.info)


@lru_cache
def served() -> Served:
    """Return the model of this process, loaded once."""
    model = Served(bentoml.models.get(arguments.model))
    # What is loaded now stays: keep the collector from walking over it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 100)
    return model


async def health(request: Request) -> JSONResponse:
    """The process lives."""
    return JSONResponse({"status": "alive"})


async def model_info(request: Request) -> JSONResponse:
    """Which model answers, and how well it did on movies that it had not seen."""
    return JSONResponse(served().info.model_dump() | {"metrics": served().metrics})


routes = [Route("/health", health), Route("/model/info", model_info)]


@bentoml.service(
    name="premiere",
    traffic={"timeout": 5},
    tracing={"excluded_urls": "predict,health,model/info,metrics"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(Starlette(routes=routes))
class RatingService:
    """Predict a movie's rating before its premiere.

    This product uses the TMDB API but is not endorsed or certified by TMDB.
    """

    stored = bentoml.models.BentoModel(arguments.model)

    def __init__(self) -> None:
        served()

    @bentoml.api(route="/predict", input_spec=PredictRequest)
    def predict(self, **request: Any) -> Prediction:
        """Predict the rating of one movie from what is known before its release."""
        return served().predict(request["movie"])
