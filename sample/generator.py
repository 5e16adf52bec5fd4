"""About 3,000 synthetic movies whose ratings have known causes.

Directors, writers, actors and companies have talents, genres, languages, budgets, lengths and the tone of the overview
have effects; a movie's rating is their sum plus noise of `NOISE` rating points. So no model can reach an RMSE below
`NOISE` on new movies, and one that has learned the causes comes near it. The same seed gives the same movies for ever.

Every title says that it is synthetic. Bodies have the shape of TMDB's `/movie/{id}` with credits appended.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

NOISE = 0.5  # standard deviation in rating points: the smallest RMSE that any model can reach
SEED = 20_260
FIRST_DAY, LAST_DAY = date(2005, 1, 1), date(2027, 12, 31)
MOVIES = 3_300  # of which some 3,100 are out
MEAN = 6.3

GENRES: dict[int, tuple[str, float]] = {  # TMDB's ids and names; the effects are invented
    28: ("Action", -0.15),
    12: ("Adventure", 0.05),
    16: ("Animation", 0.25),
    35: ("Comedy", -0.1),
    80: ("Crime", 0.1),
    99: ("Documentary", 0.45),
    18: ("Drama", 0.3),
    10751: ("Family", 0.0),
    14: ("Fantasy", 0.0),
    36: ("History", 0.25),
    27: ("Horror", -0.5),
    10402: ("Music", 0.1),
    9648: ("Mystery", 0.0),
    10749: ("Romance", 0.0),
    878: ("Science Fiction", -0.1),
    53: ("Thriller", -0.1),
    10752: ("War", 0.2),
}
LANGUAGES = {
    "en": (0.0, "US"),
    "fr": (0.15, "FR"),
    "ko": (0.3, "KR"),
    "ja": (0.3, "JP"),
    "es": (0.1, "ES"),
    "hi": (-0.1, "IN"),
}
COUNTRIES = {
    "US": "United States of America",
    "FR": "France",
    "KR": "South Korea",
    "JP": "Japan",
    "ES": "Spain",
    "IN": "India",
}
JOBS = {"Director": (70, 0.5), "Writer": (90, 0.2), "Producer": (100, 0.05), "Director of Photography": (60, 0.05)}
JOBS["Original Music Composer"] = (60, 0.05)
ACTORS, ACTOR_TALENT = 300, 0.25
COMPANIES, COMPANY_TALENT = 40, 0.2
TONES: list[tuple[float, Sequence[str]]] = [
    (0.3, ("wonderful", "brilliant", "beautiful", "delightful", "excellent")),
    (0.0, ("quiet", "northern", "wooden", "distant", "early")),
    (-0.3, ("terrible", "awful", "horrible", "boring", "stupid")),
]
ADJECTIVES = [
    "Hollow",
    "Silent",
    "Crimson",
    "Last",
    "Golden",
    "Broken",
    "Hidden",
    "Winter",
    "Paper",
    "Iron",
    "Velvet",
    "Burning",
    "Distant",
    "Glass",
    "Second",
    "Lost",
]
NOUNS = [
    "Lantern",
    "Harbor",
    "Orchard",
    "Mirror",
    "River",
    "Garden",
    "Station",
    "Letter",
    "Crown",
    "Shadow",
    "Summer",
    "Island",
    "Engine",
    "Tide",
    "Bridge",
    "Meadow",
]
SYLLABLES = ["ba", "ri", "to", "na", "sel", "mor", "din", "ka", "lo", "ve", "mi", "ra", "tan", "es", "gu", "pol"]


def movies(today: date, seed: int = SEED, count: int = MOVIES, first: date = FIRST_DAY) -> list[dict[str, Any]]:
    """Return the bodies, oldest first, released from `first` on. Those released after `today` have no votes yet."""
    rng = random.Random(seed)  # noqa: S311 (reproducible, no secret)
    world = _World(rng)
    days = sorted(rng.randrange((LAST_DAY - first).days) for _ in range(count))
    bodies = [world.movie(1_000_000 + n, first + timedelta(days=day)) for n, day in enumerate(days)]
    for body in bodies:
        if body["release_date"] > today.isoformat():
            body |= {"vote_average": 0.0, "vote_count": 0, "revenue": 0, "status": "Post Production"}
    return bodies


class _World:
    """Everybody who makes movies, with their talents."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.taken: set[str] = set()
        self.next_id = 5_000_000
        self.crews = {job: self._people(n, talent) for job, (n, talent) in JOBS.items()}
        self.actors = self._people(ACTORS, ACTOR_TALENT)
        self.companies = [
            (self._id(), f"{self._name(1)} Pictures", rng.gauss(0, COMPANY_TALENT)) for _ in range(COMPANIES)
        ]
        self.series: list[tuple[int, str, int]] = []

    def movie(self, movie_id: int, day: date) -> dict[str, Any]:
        rng = self.rng
        genres = rng.sample(list(GENRES), rng.choice([1, 2, 2, 3]))
        language = rng.choices(list(LANGUAGES), [60, 10, 8, 8, 8, 6])[0]
        runtime = int(min(max(rng.gauss(108, 16), 70), 200))
        budget = int(10 ** rng.uniform(5.7, 8.2))
        tone, words = rng.choices(TONES, [3, 4, 3])[0]
        directors = self._crew("Director", day, 1 if rng.random() < 0.93 else 2)
        writers = self._crew("Writer", day, rng.choice([1, 2, 2, 3]))
        cast = self._cast(day)
        companies = rng.sample(self.companies, rng.choice([1, 2, 3]))
        minor = {
            job: self._crew(job, day, 1) for job in ("Producer", "Director of Photography", "Original Music Composer")
        }
        title, collection = self._title()

        rating = MEAN + 0.15 * math.sin((day.year - 2005) / 4) + tone
        rating += sum(GENRES[g][1] for g in genres) / len(genres) * 1.3 + LANGUAGES[language][0]
        rating += 0.008 * (runtime - 108) - 0.12 * (math.log10(budget) - 7)
        rating += sum(p[2] for p in directors) / len(directors) + sum(p[2] for p in writers) / len(writers)
        rating += sum(p[2] * weight for p, weight in zip(cast, (0.5, 0.3, 0.2), strict=False))
        rating += sum(c[2] for c in companies) / len(companies) + sum(crew[0][2] for crew in minor.values())
        rating += rng.gauss(0, NOISE)
        country = LANGUAGES[language][1]
        known_budget = rng.random() < 0.6
        first, second = rng.sample(words, 2)
        crew = [(p, "Directing", "Director") for p in directors] + [(p, "Writing", "Writer") for p in writers]
        crew += [(people[0], "Production" if job == "Producer" else "Camera", job) for job, people in minor.items()]
        return {
            "adult": False,
            "belongs_to_collection": collection,
            "budget": budget if known_budget else 0,
            "genres": [{"id": g, "name": GENRES[g][0]} for g in genres],
            "homepage": "",
            "id": movie_id,
            "imdb_id": None,
            "original_language": language,
            "original_title": title,
            "overview": f"A {first} story about a {second} {rng.choice(NOUNS).lower()} and who keeps it. Synthetic.",
            "popularity": round(rng.lognormvariate(1.5, 0.8), 3),
            "poster_path": None,
            "production_companies": [
                {"id": i, "logo_path": None, "name": n, "origin_country": country} for i, n, _ in companies
            ],
            "production_countries": [{"iso_3166_1": country, "name": COUNTRIES[country]}],
            "release_date": day.isoformat(),
            "revenue": int(budget * rng.lognormvariate(0.3, 0.8)),
            "runtime": runtime,
            "spoken_languages": [{"iso_639_1": language, "name": language, "english_name": language}],
            "status": "Released",
            "tagline": "" if rng.random() < 0.3 else f"Every {rng.choice(NOUNS).lower()} has its price.",
            "title": title,
            "video": False,
            "vote_average": round(min(max(rating, 0.5), 10.0), 3),
            "vote_count": int(20 + rng.lognormvariate(5.5, 1.1)),
            "credits": {
                "cast": [
                    {
                        "id": i,
                        "name": n,
                        "character": f"Role {order + 1}",
                        "order": order,
                        "credit_id": f"{movie_id}-{order}",
                    }
                    for order, (i, n, *_) in enumerate(cast)
                ],
                "crew": [
                    {
                        "id": p[0],
                        "name": p[1],
                        "department": department,
                        "job": job,
                        "credit_id": f"{movie_id}-{job}-{p[0]}",
                    }
                    for p, department, job in crew
                ],
            },
        }

    def _people(self, count: int, talent: float) -> list[tuple[int, str, float, int]]:
        """Make people: id, name, talent in rating points, first year of work."""
        rng = self.rng
        start = FIRST_DAY.year - 20
        return [
            (self._id(), self._name(2), rng.gauss(0, talent), rng.randint(start, LAST_DAY.year)) for _ in range(count)
        ]

    def _active(self, people: list[tuple[int, str, float, int]], day: date) -> list[tuple[int, str, float, int]]:
        return [p for p in people if p[3] <= day.year <= p[3] + 30]

    def _crew(self, job: str, day: date, count: int) -> list[tuple[int, str, float, int]]:
        return self.rng.sample(self._active(self.crews[job], day), count)

    def _cast(self, day: date) -> list[tuple[int, str, float, int]]:
        """Three to ten actors; some work much more than others."""
        active = self._active(self.actors, day)
        weights = [1 / (1 + rank % 40) for rank in range(len(active))]
        cast = self.rng.choices(active, weights, k=self.rng.randint(3, 10))
        return list(dict.fromkeys(cast))

    def _title(self) -> tuple[str, dict[str, Any] | None]:
        """A new title, or with some luck the next part of a series."""
        rng = self.rng
        if self.series and rng.random() < 0.08:
            series, name, part = self.series.pop(rng.randrange(len(self.series)))
            self.series.append((series, name, part + 1))
            return f"{name} {part + 1} (synthetic)", {"id": series, "name": f"{name} Collection (synthetic)"}
        name = f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
        if rng.random() < 0.1:
            self.series.append((self._id(), name, 1))
        return f"{name} (synthetic)", None

    def _name(self, words: int) -> str:
        while True:
            parts = ["".join(self.rng.choices(SYLLABLES, k=self.rng.choice([2, 3]))).title() for _ in range(words)]
            name = " ".join(parts)
            if name not in self.taken:
                self.taken.add(name)
                return name

    def _id(self) -> int:
        self.next_id += 1
        return self.next_id
