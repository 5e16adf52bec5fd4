"""The mechanical gate: ask a running service what it must know and what it must refuse, before anybody relies on it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from models.movie import LEVEL, TOLERANCE, Movie
from tasks.registry.scoring import Scored, score
from tasks.registry.versions import Version

TIMED = 40  # requests
LATENCY_MS = 250.0

GOLDEN_MOVIES: list[dict[str, Any]] = [
    {"title": "Only a title"},
    {
        "title": "A well-known crew",
        "overview": "A wonderful story about a quiet lighthouse and the two sisters who keep it alive.",
        "genres": ["Drama", "Romance"],
        "release_date": "2027-03-05",
        "original_language": "en",
        "runtime": 118,
        "budget": 24_000_000,
        "production_companies": ["A24"],
        "production_countries": ["United States of America"],
        "directors": ["Greta Gerwig"],
        "writers": ["Greta Gerwig"],
        "cast": ["Saoirse Ronan", "Timothée Chalamet", "Florence Pugh"],
    },
    {"title": "무명 2", "original_language": "ko", "genres": ["Horror"], "release_date": "2027-10-29", "runtime": 87},
]
MALFORMED: dict[str, bytes] = {
    "broken JSON": b'{"movie": {"title": ',
    "no movie": b"{}",
    "no title": b'{"movie": {"runtime": 90}}',
    "an unknown field": b'{"movie": {"title": "x", "vote_average": 9.9}}',
    "a wrong type": b'{"movie": {"title": "x", "runtime": "ninety"}}',
    "not a number": b'{"movie": {"title": "x", "budget": NaN}}',
    "an impossible date": b'{"movie": {"title": "x", "release_date": "2024-02-31"}}',
    "negative money": b'{"movie": {"title": "x", "budget": -1}}',
}


def score_golden(version: Version, code: Path | None = None) -> Scored:
    """Return what ships of a version says of the golden movies, by its own `models` or by that in another folder."""
    return score(version, "model", [Movie(**movie) for movie in GOLDEN_MOVIES], [LEVEL], 0, code)


def probe(version: Version, url: str, latency_ms: float = LATENCY_MS) -> None:
    """Raise RuntimeError, with what is wrong, unless the service at `url` is fit to serve a version.

    Its answers must be those of the registered model, bad requests must get a 4xx, and nine requests of ten must be
    answered within `latency_ms` milliseconds.
    """
    with httpx.Client(base_url=url, timeout=30) as client:
        wrong = [*_wrong_answers(version, client), *_wrong_refusals(client), *_too_slow(client, latency_ms)]
    if wrong:
        raise RuntimeError(f"the service of {version.label} is not fit to serve: {'; '.join(wrong)}")


def _wrong_answers(version: Version, client: httpx.Client) -> Iterator[str]:
    rated = score_golden(version)
    low, high = rated.intervals[LEVEL]
    for n, movie in enumerate(GOLDEN_MOVIES):
        response = client.post("/predict", json={"movie": movie})
        if response.status_code != 200:
            yield f"{movie['title']!r} got {response.status_code}: {response.text[:300]}"
            continue
        answer = response.json()
        off = np.abs([answer["rating"] - rated.ratings[n], answer["low"] - low[n], answer["high"] - high[n]]).max()
        if not off <= TOLERANCE:
            yield f"{movie['title']!r} is off by {off} from the registered model"
        if answer["model"]["sha256"] != version.tags["sha256"]:
            yield f"{movie['title']!r} was answered by model {answer['model']['sha256'][:12]}"


def _wrong_refusals(client: httpx.Client) -> Iterator[str]:
    for name, body in MALFORMED.items():
        status = client.post("/predict", content=body, headers={"Content-Type": "application/json"}).status_code
        if not 400 <= status < 500:
            yield f"{name} got {status} instead of a 4xx"


def _too_slow(client: httpx.Client, latency_ms: float) -> Iterator[str]:
    took = []
    for n in range(TIMED):
        begun = time.perf_counter()
        client.post("/predict", json={"movie": GOLDEN_MOVIES[n % len(GOLDEN_MOVIES)]})
        took.append((time.perf_counter() - begun) * 1000)
    slow = sorted(took)[math.ceil(0.9 * TIMED) - 1]
    if slow > latency_ms:
        yield f"nine requests of ten took up to {slow:.0f} ms, {latency_ms:.0f} are allowed"
