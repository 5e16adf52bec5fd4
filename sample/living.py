"""What TMDB would know of a movie on a day: it is announced, its facts fill in, it comes out, and votes arrive.

Pure: finished bodies and a day in, the bodies of that day out, and which of them changed in a range of days. All is
drawn from the movie's id, so that every day of one life fits to every other. Stated, for whoever judges by it:

- A movie is announced 240 to 900 days before its release, with title, language and series. The other facts are told
  between that day and a month after the release, the running time and the budget last.
- Votes arrive as 1 - exp(-days / `VOTES_DAYS`) of those that the finished body has. Their mean is off by `VOTE_NOISE`
  over the root of their number, and ends where the finished body's is.
- Of a thousand ids, `VANISHING` vanish one day, and `TWINS` have a twin with a third of the votes, until they merge.

Recorded bodies of TMDB can be lived in the same way. What they say is of one single day, so that what was told when,
and how votes came, is invented for them, too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

VOTES_DAYS, VOTE_NOISE = 40.0, 1.6  # days; rating points of one vote
VANISHING, TWINS = 8, 4  # of a thousand ids
TWIN = 400_000_000  # what is added to an id for that of its twin
TWIN_SHARE = 1 / 3
RENAMED = {878: "Sci-Fi"}  # by the shock "genre"
# Fields, and when they are told: so many days after the announcement, or before (-) and after (+) the release.
AFTER_ANNOUNCEMENT = {
    ("genres",): (0, 30),
    ("overview",): (0, 60),
    ("production_companies", "production_countries", "spoken_languages"): (0, 60),
    ("Director",): (0, 90),
    ("Writer",): (0, 120),
}
AROUND_RELEASE = {
    ("leads",): (-400, -200),
    ("cast", "crew"): (-200, -60),
    ("tagline", "poster_path"): (-150, -30),
    ("runtime",): (-40, -5),
    ("budget",): (-60, 30),
    ("revenue",): (20, 30),
}
UNTOLD: dict[str, Any] = {
    "genres": [],
    "overview": "",
    "production_companies": [],
    "production_countries": [],
    "spoken_languages": [],
    "tagline": "",
    "poster_path": None,
    "runtime": 0,
    "budget": 0,
    "revenue": 0,
}
LEADS = 2  # actors who are told before the others
SHOCKS = ("genre", "currency", "cast", "scale")
LASTING = {"cast": 365, "scale": 1}  # days; the others stay


@dataclass(frozen=True)
class World:
    """What moves beside the movies: a level that falls or rises, and shocks, each from a day on.

    `trend` is in rating points a year, for movies that come out from `since` on. `shocks` name their first day: "genre"
    renames one everywhere, "currency" gives budgets times a thousand to movies that are announced from then on, "cast"
    tells none of those that are announced within a year, "scale" gives all ratings out of a hundred, on that day alone.
    """

    trend: float = 0.0
    since: date = date.max
    shocks: dict[str, date] = field(default_factory=dict)

    def on(self, shock: str, day: date) -> bool:
        """Say whether a shock is on for what happens on a day."""
        first = self.shocks.get(shock, date.max)
        return first <= day and (day - first).days < LASTING.get(shock, 10**6)


@dataclass(frozen=True)
class Life:
    """The life of one movie, from its finished body. One without a release date is as it is, on every day."""

    finished: dict[str, Any]
    world: World = World()

    @cached_property
    def release(self) -> date | None:
        """The day of its release, if it has one."""
        return date.fromisoformat(self.finished["release_date"]) if self.finished.get("release_date") else None

    @cached_property
    def _drawn(self) -> tuple[dict[str, date], float]:
        """When each fact is told, and "announced", "gone" and "merged", if ever; and the luck of its first votes."""
        rng = random.Random(f"life of {self.finished['id']}")  # noqa: S311 (reproducible, no secret)
        if self.release is None:
            return {"announced": date.min}, 0.0
        announced = self.release - timedelta(days=rng.randint(240, 900))
        days = {"announced": announced}
        for start, fields in ((announced, AFTER_ANNOUNCEMENT), (self.release, AROUND_RELEASE)):
            for names, (first, last) in fields.items():
                day = max(start + timedelta(days=rng.randint(first, last)), announced)
                days |= dict.fromkeys(names, day)
        fate, when = rng.random() * 1000, self.release + timedelta(days=rng.randint(-200, 900))
        if fate < VANISHING:
            days["gone"] = max(when, announced)
        elif fate < VANISHING + TWINS:
            days["merged"] = max(when, announced)
        return days, rng.gauss(0, 1)

    def ids(self, day: date) -> list[int]:
        """Return the ids under which it is known on a day."""
        (days, _), own = self._drawn, int(self.finished["id"])
        if day < days["announced"] or day >= days.get("gone", date.max):
            return []
        return [own, own + TWIN] if day < days.get("merged", date.min) else [own]

    def changed(self, start: date, end: date) -> list[int]:
        """Return its ids of which TMDB says that they changed from `start` to `end`, both inclusive; votes do not."""
        (days, _), own = self._drawn, int(self.finished["id"])
        if not any(start <= day <= end for day in days.values()):
            return []
        return [own, own + TWIN] if "merged" in days else [own]

    def body(self, movie_id: int, day: date) -> dict[str, Any]:
        """Return the body of one of its ids on a day on which it is known."""
        body, release, (days, _) = dict(self.finished) | {"id": movie_id}, self.release, self._drawn
        if release is None:
            return body
        told = {name for name, first in days.items() if first <= day}
        credits = body.get("credits") or {"cast": [], "crew": []}
        cast = credits["cast"] if "cast" in told else credits["cast"][:LEADS] if "leads" in told else []
        jobs = {"Director", "Writer"}
        crew = [c for c in credits["crew"] if (c["job"] if c["job"] in jobs else "crew") in told]
        if self.world.on("cast", days["announced"]):
            cast = []
        body["credits"] = credits | {"cast": cast, "crew": crew}
        for name, nothing in UNTOLD.items():
            if name not in told and name in body:
                body[name] = nothing
        if self.world.on("currency", days["announced"]):
            body["budget"] = (body.get("budget") or 0) * 1000
        if self.world.on("genre", day):
            body["genres"] = [g | {"name": RENAMED.get(g["id"], g["name"])} for g in body.get("genres") or []]
        if day < release:
            return body | {"vote_average": 0.0, "vote_count": 0, "status": "Post Production"}
        twin = movie_id != int(self.finished["id"])
        return body | self._votes(release, day, TWIN_SHARE if twin else 1.0) | {"status": "Released"}

    def _votes(self, release: date, day: date, share: float) -> dict[str, Any]:
        final, mean = int(self.finished.get("vote_count") or 0), float(self.finished.get("vote_average") or 0)
        count = round(final * share * (1 - math.exp(-((day - release).days + 1) / VOTES_DAYS)))
        if not count or not mean:
            return {"vote_count": count, "vote_average": mean if count else 0.0}
        mean += self.world.trend * max((release - self.world.since).days, 0) / 365.25
        mean += self._drawn[1] * VOTE_NOISE * (count**-0.5 - final**-0.5)
        scale = 10 if self.world.on("scale", day) else 1
        return {"vote_count": count, "vote_average": round(min(max(mean, 0.5), 10.0) * scale, 3)}


def lives(finished: Iterable[dict[str, Any]], world: World) -> list[Life]:
    """Return the lives of movies, from their finished bodies."""
    return [Life(body, world) for body in finished]


def bodies(movies: Iterable[Life], day: date) -> Iterator[dict[str, Any]]:
    """Return the bodies that TMDB has on a day."""
    for life in movies:
        for movie_id in life.ids(day):
            yield life.body(movie_id, day)


def changes(movies: Iterable[Life], start: date, end: date) -> list[int]:
    """Return the ids that changed from `start` to `end`, both inclusive, sorted; those that are gone by then, too."""
    return sorted(movie_id for life in movies for movie_id in life.changed(start, end))
