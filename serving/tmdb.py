"""TMDB, asked for one movie by its id: what it knows of it, over connections that the process keeps.

What the flows collect is another thing: `tasks.data.tmdb` reads by the thousand, at a rate, and tries again. Here
somebody waits: one try, within `SECONDS`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from bentoml.exceptions import BentoMLException, InvalidArgument, NotFound
from pydantic import ValidationError

from models.body import APPENDED, BadRecord, record
from models.movie import Movie
from serving.schema import Voted
from settings import get_settings

SECONDS = 8  # of the ten that an answer may take
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60)
NO_TOKEN = (
    "TMDB",
    "is not asked: this service has no TMDB_API_TOKEN",
    "send the movie itself to /predict, or let whoever runs the service set TMDB_API_TOKEN",
)


class NoAnswer(BentoMLException):
    """Somebody whom we asked did not answer."""

    error_code = HTTPStatus.FAILED_DEPENDENCY


class Tmdb:
    """TMDB at an address. Its client belongs to the event loop that asks first; `close` hangs up."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=SECONDS, limits=LIMITS)

    async def look_up(self, movie_id: int) -> tuple[Movie, dict[str, Any], Voted]:
        """Return a movie, what is to be rated of it, and what its voters say.

        Raises what BentoML answers with 400, 404 or 424.
        """
        kept = await self._fetch(movie_id)
        try:
            movie = Movie.of(kept)
        except ValidationError as error:
            raise InvalidArgument(f"TMDB's movie {movie_id} cannot be rated: {error.errors()[0]['msg']}") from error
        out = kept["release_date"] is not None and kept["release_date"] <= datetime.now(UTC).date()
        # What TMDB lacks of a finished movie there mostly is none of; of one to come nobody has said it yet.
        facts = movie.facts() if out else movie.told()
        return movie, facts, Voted(released=out, vote_average=kept["vote_average"], vote_count=kept["vote_count"])

    async def _fetch(self, movie_id: int) -> dict[str, Any]:
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._client.get(f"/movie/{movie_id}", params={"append_to_response": APPENDED})
            if answer.status_code == 404:
                raise NotFound(f"TMDB has no movie {movie_id}")
            answer.raise_for_status()
            return record(answer.json(), datetime.now(UTC))
        except (httpx.HTTPError, BadRecord, ValueError, TimeoutError) as error:
            why = f"TMDB gave no usable answer: {type(error).__name__}. Try again, or send the movie"
            raise NoAnswer(why) from error

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._client.aclose()


def open_tmdb() -> Tmdb | None:
    """Return TMDB as the settings name it, or None where there is no token to ask it with."""
    settings = get_settings()
    token = settings.tmdb_api_token
    return Tmdb(settings.tmdb_base_url, token.get_secret_value()) if token else None
