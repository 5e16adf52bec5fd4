"""The service: validate a movie, rate it, answer, record. It prepares nothing; the model takes raw movies.

Which model it serves is decided when the bento is built: `bentoml build --arg model=movie-rating:v7`, or, where none is
named, the champion of that moment. It never asks for "latest". The model file is read without pickle; only the types
that `models.estimator` names are trusted. What stands between is in `serving`: the schema, the guard at the door, the
record of predictions, the following of the registry.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import bentoml
import httpx
from anyio.to_thread import run_sync
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.exceptions import BentoMLException, InvalidArgument, NotFound
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from models.body import APPENDED, BadRecord, record
from models.movie import Movie
from serving.guard import Guard, field_errors, refusal
from serving.openapi import complete
from serving.schema import (
    Asked,
    Batch,
    BatchItem,
    BatchRequest,
    FeedbackAnswer,
    FeedbackRequest,
    FieldError,
    Prediction,
    PredictRequest,
    TextPrediction,
    TextRequest,
    TmdbPrediction,
    TmdbRequest,
    Voted,
)
from settings import PROJECT, get_settings, networks, without_passwords

if TYPE_CHECKING:
    from serving.following import Follower
    from serving.rater import Rater
    from serving.recorder import Recorder

SECONDS = 10  # for an answer
TMDB_SECONDS = 8
CLOSE_SECONDS = 5  # Docker gives ten
NO_WAREHOUSE = "warehouse", "does not answer", "try again later, or see to the database of WAREHOUSE_URL"
log = logging.getLogger("premiere")


def registered_champion() -> str:
    """Bring the champion of this checkout's registry into BentoML's store and return its tag there.

    A process of its own asks MLflow. Raises InvalidArgument where there is no checkout, or no champion to be had.
    """
    home = str(BentoMLContainer.bentoml_home.get())  # of this process, whatever the settings say
    done = subprocess.run(
        [sys.executable, "-m", "tasks.release.targets.bento", "--store"],
        cwd=PROJECT, env=os.environ | {"BENTOML_HOME": home}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        why = without_passwords((done.stderr.strip().splitlines() or ["the registry's process was killed"])[-1])
        raise InvalidArgument(f"no model is named, and {why}. Or name a model yourself: --arg model=movie-rating:v7")
    return done.stdout.split()[-1]


class Arguments(BaseModel):
    """What is decided at build time."""

    model: str = Field(
        default_factory=registered_champion,
        description="tag in BentoML's model store, for example movie-rating:v7; default: the champion",
    )


arguments = bentoml.use_arguments(Arguments)
BentoMLContainer.bento_arguments.set(arguments.model_dump())  # a bento and the other processes keep what was found


def python_of(model: str) -> str:
    """Return the Python that a model was fitted on, as "3.13", or this one where no such model is stored.

    The file would open on any: the image takes the one on which the model was judged, whatever built the bento.
    """
    this = "{}.{}".format(*sys.version_info)
    try:
        stored = Path(bentoml.models.get(model).path, "mlflow_model", "python_env.yaml").read_text()
    except (NotFound, OSError):  # the service says itself what it lacks
        return this
    found = re.search(r"^python: (\d+\.\d+)", stored, re.MULTILINE)
    return found[1] if found else this


PYTHON = python_of(arguments.model)


def is_ours(entry: logging.LogRecord) -> bool:
    """Pass what is a fault of ours: BentoML logs a traceback for every bad request, too."""
    error = entry.exc_info[1] if entry.exc_info else None
    told = isinstance(error, ValidationError) or (isinstance(error, BentoMLException) and error.error_code < 500)
    return not told


# BentoML reads this file in two processes, and only one of them rates: what that one alone needs (scikit-learn, pandas,
# the boosters, the database) is imported where it is used. It halves the memory.


@lru_cache
def champion() -> Follower:
    """Return the model of this process, loaded once, and what follows it."""
    from serving.following import Follower
    from serving.rater import load

    follower = Follower(load(arguments.model), load)
    if get_settings().follow_registry:
        follower.start()
    return follower


@lru_cache
def recorder() -> Recorder | None:
    """Return what remembers predictions, or None where that is switched off."""
    from serving.recorder import Recorder

    settings = get_settings()
    return Recorder(settings.warehouse_url.get_secret_value()) if settings.record_predictions else None


def rate(rater: Rater, route: str, movie: dict[str, Any], asked: Asked) -> Prediction:
    """Rate a raw movie, and record the answer, if that is wanted."""
    answers = rater.rate([movie], asked)
    remember(route, [movie], answers, asked)
    return answers[0]


def remember(route: str, movies: list[dict[str, Any]], answers: list[Prediction], asked: Asked) -> None:
    """Record answers, if that is wanted."""
    kept = recorder()
    if kept and asked.record:
        kept.predicted(route, movies, answers)


def check(given: Any) -> dict[str, Any] | BatchItem:
    """Return a raw movie, or what is wrong with it."""
    try:
        return (given if isinstance(given, Movie) else Movie.model_validate(given)).told()
    except ValidationError as error:
        told = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
        return BatchItem(errors=[FieldError(**one) for one in told])


async def health(request: Request) -> JSONResponse:
    """The process lives."""
    return JSONResponse({"status": "alive"})


async def ready(request: Request) -> JSONResponse:
    """A model is loaded: 200, or 503 with the reason. How the threads beside it do changes nothing in that."""
    try:
        follower, kept = champion(), recorder()
        threads = {thread.name: thread.state for thread in (follower.thread, *([kept.thread] if kept else []))}
        return JSONResponse({"status": "ready", "version": follower.rater.info.version, "threads": threads})
    except (BentoMLException, OSError, ValueError) as error:
        return JSONResponse({"status": "not ready", "reason": f"no model: {error}"}, status_code=503)


async def model_info(request: Request) -> JSONResponse:
    """Which model answers, how well it did on movies that it had not seen, and what became of a newer one."""
    follower = champion()
    info = follower.rater.info.model_dump() | {"metrics": follower.rater.metrics}
    return JSONResponse(info | {"following": follower.state})


def upcoming(request: Request) -> JSONResponse:
    """What comes out in the next twelve months, as last scored, and how earlier lists turned out."""
    from sqlalchemy.exc import SQLAlchemyError

    from serving.supervision import place
    from serving.upcoming import read_upcoming

    try:
        url, source = get_settings().warehouse_url.get_secret_value(), champion().rater.info.source
        return JSONResponse(read_upcoming(url, source))
    except SQLAlchemyError as error:
        log.error("no list of upcoming movies: %s", place(error))
        return refusal(503, *NO_WAREHOUSE)


async def docs(request: Request) -> RedirectResponse:
    """The interactive page of the API."""
    return RedirectResponse("./")


async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI description, with what BentoML leaves out."""
    return JSONResponse(complete(RatingService.openapi_spec.asdict()))  # type: ignore[attr-defined]


routes = [
    Route("/health", health),
    Route("/ready", ready),
    Route("/model/info", model_info),
    Route("/upcoming", upcoming),
    Route("/docs", docs),
    Route("/openapi.json", openapi),
    Mount("/ui", StaticFiles(directory=PROJECT / "web", html=True)),
]


@bentoml.service(
    name="premiere",
    # No distribution that BentoML knows: to those it adds compilers and git. bentofile.yaml says what else goes in.
    image=bentoml.images.Image(python_version=PYTHON, base_image=f"python:{PYTHON}-slim", distro="none"),
    traffic={"timeout": SECONDS},
    envs=[{"name": "FORWARDED_ALLOW_IPS", "value": "nobody"}],  # uvicorn believes all on loopback; the guard asks whom
    tracing={"excluded_urls": "predict.*,feedback,health,ready,model/info,metrics,ui.*,upcoming"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(Starlette(routes=routes))
class RatingService:
    """Know a movie's rating before its premiere, with an honest interval and reasons.

    This product uses the TMDB API but is not endorsed or certified by TMDB.
    """

    stored = bentoml.models.BentoModel(arguments.model)

    def __init__(self) -> None:
        logging.getLogger("bentoml._internal.server.http_app").addFilter(is_ours)
        champion()
        recorder()
        self.batches = anyio.CapacityLimiter(1)  # the next one waits, and goes when its time is over
        # BentoML would wrap each method anew for every request.
        for name in RatingService.apis:  # type: ignore[attr-defined]
            setattr(self, name, getattr(self, name))

    @bentoml.on_shutdown
    def close(self) -> None:
        """Write what was predicted last."""
        kept = recorder()
        if kept:
            kept.flush(CLOSE_SECONDS)

    @bentoml.api(route="/predict", input_spec=PredictRequest)
    async def predict(self, **asked: Any) -> Prediction:
        """Rate one movie from what is known before its release. Everything but the title may be left out."""
        request = PredictRequest.model_construct(**asked)
        return rate(champion().rater, "predict", request.movie.told(), request)

    @bentoml.api(route="/predict/batch", input_spec=BatchRequest)
    async def predict_batch(self, ctx: bentoml.Context, **asked: Any) -> Batch:
        """Rate up to 1,000 movies, 500 with reasons or similar ones: a prediction or the errors of each, in order."""
        from serving.rater import rate_many

        request = BatchRequest.model_construct(**asked)
        rater = champion().rater
        checked = [check(movie) for movie in request.movies]
        movies = [movie for movie in checked if isinstance(movie, dict)]
        async with self.batches:
            answers = await rate_many(rater, movies, request, ctx.request.is_disconnected)
        remember("predict/batch", movies, answers, request)
        told = iter(answers)
        results = [
            one if isinstance(one, BatchItem) else BatchItem.model_construct(prediction=next(told), errors=[])
            for one in checked
        ]
        return Batch.model_construct(results=results, model=rater.info)

    @bentoml.api(route="/predict/text", input_spec=TextRequest)
    async def predict_text(self, **asked: Any) -> TextPrediction:
        """Rate a movie of which only a synopsis is known, and say what sentiment was read in it."""
        request = TextRequest.model_construct(**asked)
        rater = champion().rater
        answer = rate(rater, "predict/text", {"overview": request.text}, request)
        return TextPrediction.model_construct(**answer.__dict__, sentiment=rater.read(request.text))

    @bentoml.api(route="/predict/tmdb", input_spec=TmdbRequest, output_spec=TmdbPrediction)
    async def predict_tmdb(self, **asked: Any) -> TmdbPrediction | Response:
        """Fetch a movie from TMDB, rate it by what was known before its release, and say what its voters say."""
        request = TmdbRequest.model_construct(**asked)
        if not get_settings().tmdb_api_token:
            remedy = "send the movie itself to /predict, or let whoever runs the service set TMDB_API_TOKEN"
            return refusal(
                HTTPStatus.FAILED_DEPENDENCY, "TMDB", "is not asked: this service has no TMDB_API_TOKEN", remedy
            )
        kept = await fetch(request.id)
        try:
            movie = Movie.of(kept)
        except ValidationError as error:
            raise InvalidArgument(f"TMDB's movie {request.id} cannot be rated: {error.errors()[0]['msg']}") from error
        out = kept["release_date"] is not None and kept["release_date"] <= datetime.now(UTC).date()
        # What TMDB lacks of a finished movie there mostly is none of; of one to come nobody has said it yet.
        facts = movie.facts() if out else movie.told()
        answer = rate(champion().rater, "predict/tmdb", facts, request)
        voted = Voted(released=out, vote_average=kept["vote_average"], vote_count=kept["vote_count"])
        return TmdbPrediction.model_construct(movie=movie, prediction=answer, tmdb=voted)

    @bentoml.api(route="/feedback", input_spec=FeedbackRequest, output_spec=FeedbackAnswer)
    async def feedback(self, **given: Any) -> FeedbackAnswer | Response:
        """Keep what a prediction came to, for the measure of live error; the last word on a prediction counts."""
        from sqlalchemy.exc import SQLAlchemyError

        from serving.supervision import place

        kept = recorder()
        if not kept:
            return FeedbackAnswer(recorded=False)
        try:
            if await run_sync(kept.voted, given["id"], given["rating"]):
                return FeedbackAnswer(recorded=True)
        except SQLAlchemyError as error:
            log.error("feedback is lost: %s", place(error))
            return refusal(503, *NO_WAREHOUSE)
        return refusal(404, "id", "is of no prediction that was recorded", 'send the "id" of an answer, as it came')


class NoAnswer(BentoMLException):
    """Somebody whom we asked did not answer."""

    error_code = HTTPStatus.FAILED_DEPENDENCY


async def fetch(movie_id: int) -> dict[str, Any]:
    """Return TMDB's record of a movie; raises what BentoML answers with 404 or 424."""
    settings = get_settings()
    assert settings.tmdb_api_token
    try:
        async with asyncio.timeout(TMDB_SECONDS), httpx.AsyncClient(timeout=TMDB_SECONDS) as client:
            answer = await client.get(
                f"{settings.tmdb_base_url}/movie/{movie_id}",
                params={"append_to_response": APPENDED},
                headers={"Authorization": f"Bearer {settings.tmdb_api_token.get_secret_value()}"},
            )
        if answer.status_code == 404:
            raise NotFound(f"TMDB has no movie {movie_id}")
        answer.raise_for_status()
        return record(answer.json(), datetime.now(UTC))
    except (httpx.HTTPError, BadRecord, ValueError, TimeoutError) as error:
        raise NoAnswer(f"TMDB gave no usable answer: {type(error).__name__}. Try again, or send the movie") from error


def guard(app: Any) -> Guard:
    """Put the guard before the application, with what the environment says when it starts."""
    settings = get_settings()
    token = settings.service_api_token
    proxies = networks(settings.service_proxies)
    return Guard(app, token.get_secret_value() if token else None, settings.service_per_minute, proxies)


RatingService.add_asgi_middleware(guard)  # type: ignore[attr-defined]
