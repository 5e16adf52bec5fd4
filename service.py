"""The service: validate a movie, rate it, answer, record. Routes only; it prepares nothing: the model takes raw movies.

What stands behind them is in `serving`: the schema, the guard at the door, the model that is served, the record of
predictions, TMDB. The model file is read without pickle; only the types that `models.estimator` names are trusted.
BentoML reads this file in two processes, and the parent stays small: see `serving.champion`.
"""

from __future__ import annotations

from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving import schema
from serving.batch import rate_batch
from serving.champion import arguments, champion, description, python_of, readiness
from serving.guard import guard, refusal
from serving.openapi import complete
from serving.recording import keep_feedback, rate, recorder, write_the_last
from serving.tmdb import NO_TOKEN, open_tmdb
from settings import PROJECT

PYTHON = python_of(arguments().model)


async def health(request: Request) -> JSONResponse:
    """The process lives."""
    return JSONResponse({"status": "alive"})


async def ready(request: Request) -> JSONResponse:
    """A model is loaded: 200, or 503 with the reason."""
    return JSONResponse(*readiness())


async def model_info(request: Request) -> JSONResponse:
    """Which model answers, how well it did on movies that it had not seen, and what became of a newer one."""
    return JSONResponse(description())


def upcoming(request: Request) -> Response:
    """What comes out in the next twelve months, as last scored, and how earlier lists turned out."""
    from serving.upcoming import list_upcoming

    return list_upcoming(champion().rater.info.source)


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
    traffic={"timeout": 10},  # seconds for an answer
    envs=[{"name": "FORWARDED_ALLOW_IPS", "value": "nobody"}],  # uvicorn believes all on loopback; the guard asks whom
    tracing={"excluded_urls": "predict.*,feedback,health,ready,model/info,metrics,ui.*,upcoming"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(Starlette(routes=routes))
class RatingService:
    """Know a movie's rating before its premiere, with an honest interval and reasons.

    This product uses the TMDB API but is not endorsed or certified by TMDB.
    """

    stored = bentoml.models.BentoModel(arguments().model)

    def __init__(self) -> None:
        champion()
        recorder()
        self.tmdb = open_tmdb()
        # BentoML would wrap each method anew for every request.
        for name in RatingService.apis:  # type: ignore[attr-defined]
            setattr(self, name, getattr(self, name))

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Write what was predicted last, and hang up."""
        write_the_last()
        if self.tmdb:
            await self.tmdb.close()

    @bentoml.api(route="/predict", input_spec=schema.PredictRequest)
    async def predict(self, **asked: Any) -> schema.Prediction:
        """Rate one movie from what is known before its release. Everything but the title may be left out."""
        request = schema.PredictRequest.model_construct(**asked)
        return rate(champion().rater, "predict", request.movie.told(), request)

    @bentoml.api(route="/predict/batch", input_spec=schema.BatchRequest)
    async def predict_batch(self, ctx: bentoml.Context, **asked: Any) -> schema.Batch:
        """Rate up to 1,000 movies, 500 with reasons or similar ones: a prediction or the errors of each, in order."""
        request = schema.BatchRequest.model_construct(**asked)
        return await rate_batch(champion().rater, request, ctx.request.is_disconnected)

    @bentoml.api(route="/predict/text", input_spec=schema.TextRequest)
    async def predict_text(self, **asked: Any) -> schema.TextPrediction:
        """Rate a movie of which only a synopsis is known, and say what sentiment was read in it."""
        request, rater = schema.TextRequest.model_construct(**asked), champion().rater
        answer = rate(rater, "predict/text", {"overview": request.text}, request)
        return schema.TextPrediction.model_construct(**answer.__dict__, sentiment=rater.read(request.text))

    @bentoml.api(route="/predict/tmdb", input_spec=schema.TmdbRequest, output_spec=schema.TmdbPrediction)
    async def predict_tmdb(self, **asked: Any) -> schema.TmdbPrediction | Response:
        """Fetch a movie from TMDB, rate it by what was known before its release, and say what its voters say."""
        request = schema.TmdbRequest.model_construct(**asked)
        if not self.tmdb:
            return refusal(424, *NO_TOKEN)
        movie, facts, voted = await self.tmdb.look_up(request.id)
        answer = rate(champion().rater, "predict/tmdb", facts, request)
        return schema.TmdbPrediction.model_construct(movie=movie, prediction=answer, tmdb=voted)

    @bentoml.api(route="/feedback", input_spec=schema.FeedbackRequest, output_spec=schema.FeedbackAnswer)
    async def feedback(self, **given: Any) -> schema.FeedbackAnswer | Response:
        """Keep what a prediction came to, for the measure of live error; the last word on a prediction counts."""
        return await keep_feedback(given["id"], given["rating"])


RatingService.add_asgi_middleware(guard)  # type: ignore[attr-defined]
