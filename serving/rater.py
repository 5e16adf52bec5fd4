"""A model in memory: it rates raw movies, says why, and names what it does not know."""

from __future__ import annotations

import ctypes
import gc
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import bentoml
from anyio.to_thread import run_sync
from bentoml.exceptions import BentoMLException
from prometheus_client import Counter
from skops import io as skops_io

from models.estimator import TRUSTED_TYPES, RatingModel
from models.facts import misread
from models.movie import MAX_RATING, MIN_RATING, Movie
from models.reasons import Reason as ModelReason
from models.sentiment import is_readable, read_sentiment
from serving.schema import Alike, Asked, Maker, ModelInfo, Prediction, Reason, Sentiment
from serving.supervision import place

TELLING = ("release_date", "genres", "runtime", "original_language", "directors", "cast", "overview")
AT_ONCE, EXPLAINED_AT_ONCE = 250, 50  # movies of a batch that are rated together: more take no less time each
CLIPPED = Counter("premiere_clipped", "Predictions or interval ends that lay outside 0 to 10", ["model"])


class Gone(BentoMLException):
    """Who asked has left."""

    error_code = HTTPStatus.REQUEST_TIMEOUT


def load(tag: str) -> Rater:
    """Load a model of BentoML's store."""
    stored = bentoml.models.get(tag)
    name, _, version = str(stored.tag).partition(":")
    rater = Rater(Path(stored.path) / "mlflow_model", name, version, dict(stored.info.metadata))
    # What is loaded now stays: give back what reading it took, and keep the collector from walking over it for ever.
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc has it
        libc.malloc_trim(0)
    gc.freeze()
    gc.set_threshold(5000, 20, 100)
    return rater


class Rater:
    """A loaded version. `folder` holds `model.skops`, read without pickle; `facts` are those of the registry."""

    def __init__(self, folder: Path, name: str, version: str, facts: dict[str, Any]) -> None:
        """Load and try it; raises ValueError, with what to do about it, where this code cannot use it."""
        try:
            self.model: RatingModel = skops_io.load(folder / "model.skops", trusted=TRUSTED_TYPES)
            self.model.compact()
            self.metrics: dict[str, float] = facts.get("metrics", {})
            known = {key: facts[key] for key in ("sha256", "family", "source", "synthetic", "trained_at")}
            self.info = ModelInfo(name=name, version=version, learned_until=self.model.learned_until_, **known)
            CLIPPED.labels(version)  # at 0 from the start
            self.rate([Movie(title="warm up").told()], Asked(reasons=True, similar=1))
        except OSError:
            raise
        except Exception as error:
            raise ValueError(
                f"{name}:{version} cannot be served by this code: it was fitted by other code of models/, or its file "
                f"is damaged ({place(error)}). Train anew and promote, or roll back to a bento of its own code"
            ) from None

    def rate(self, movies: Sequence[dict[str, Any]], asked: Asked) -> list[Prediction]:
        """Rate raw movies, in order."""
        ratings, lows, highs = (values.tolist() for values in self.model.predict_interval(movies, asked.confidence))
        ends = sum(value in (MIN_RATING, MAX_RATING) for values in (ratings, lows, highs) for value in values)
        if ends:
            CLIPPED.labels(self.info.version).inc(ends)
        answers, now = [], time.time_ns() // 1_000_000
        explained: Sequence[tuple[float | None, Sequence[Any]]] = [(None, [])] * len(movies)
        if asked.reasons:
            explained = self.model.explain_each(movies)
        for movie, rating, low, high, (base, reasons) in zip(movies, ratings, lows, highs, explained, strict=True):
            answer = Prediction.model_construct(
                id=f"{now:012x}{secrets.token_hex(10)}",  # led by the time, so that a database's index only grows
                rating=rating,
                low=low,
                high=high,
                confidence=asked.confidence,
                level=asked.confidence,
                base=base,
                reasons=[_told(reason) for reason in reasons],
                similar=[],
                warnings=self.warn(movie),
                model=self.info,
            )
            if asked.similar:
                near = self.model.similar(movie, asked.similar)
                answer.similar = [Alike(title=n.title, year=n.year, rating=n.rating, likeness=n.likeness) for n in near]
            answers.append(answer)
        return answers

    def read(self, words: str) -> Sentiment:
        """Say what sentiment the model reads in a text."""
        polarity, subjectivity = read_sentiment(words)
        return Sentiment(polarity=polarity, subjectivity=subjectivity, readable=is_readable(polarity, subjectivity))

    def warn(self, movie: dict[str, Any]) -> list[str]:
        """Name what is missing of a movie, what in it is not understood, and who was never seen."""
        missing = [f"{field} is missing" for field in TELLING if not movie.get(field)]
        unseen = [f"never seen: {who}" for who in self.model.features_.unseen(movie)]
        return missing + misread(movie) + unseen


def _told(reason: ModelReason) -> Reason:
    others = [Maker.model_construct(**vars(maker)) for maker in reason.others]
    return Reason.model_construct(**vars(reason) | {"others": others, "words": reason.words})


async def rate_many(
    rater: Rater, movies: Sequence[dict[str, Any]], asked: Asked, is_gone: Callable[[], Awaitable[bool]]
) -> list[Prediction]:
    """Rate raw movies, in order, beside the event loop; raises Gone where nobody waits for the answer any more.

    Cancelled, as it is when its time is over, it rates no more than those that are being rated.
    """
    answers: list[Prediction] = []
    at_once = EXPLAINED_AT_ONCE if asked.reasons or asked.similar else AT_ONCE
    for first in range(0, len(movies), at_once):
        if await is_gone():
            raise Gone("nobody waits for the answer")
        answers += await run_sync(rater.rate, movies[first : first + at_once], asked)
    return answers
