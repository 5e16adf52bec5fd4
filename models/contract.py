"""What a batch of movies must be like before a model may learn from it. Pure: a frame in, broken rules out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from models.movie import FIRST_DATE, LAST_DATE

# field -> largest share of movies that may lack it; what TMDB really lacks is well below
MAX_MISSING = {
    "title": 0.0,
    "release_date": 0.10,
    "genres": 0.25,
    "overview": 0.40,
    "original_language": 0.05,
    "runtime": 0.40,
    "cast": 0.40,
    "directors": 0.40,
    "production_companies": 0.60,
}
# IMDb's data sets have neither people nor texts
SPARSE_SOURCES = {"imdb": ("overview", "cast", "directors", "production_companies", "original_language")}
# Records are completed in the weeks after a premiere: until then, so many times the share is usual.
NEW_DAYS, NEW_ALLOWANCE = 90, 2.0
RANGES = {"vote_average": (0.0, 10.0), "vote_count": (0.0, 1e7), "runtime": (0.0, 60_000.0), "budget": (0.0, 5e9)}
MAX_ABSURD = 0.05  # of the values of a field; fewer cost the values, more mean that the source changed
MIN_ROWS_FOR_SHARES = 100  # of fewer, one odd movie would be a share
MIN_SHARE_OF_LAST = 0.8  # of the rows of the last accepted catalogue


@dataclass(frozen=True)
class Violation:
    """A broken rule, in words, with what was found."""

    rule: str
    found: str


def check_batch(movies: pd.DataFrame, source: str = "tmdb", day: date | None = None) -> list[Violation]:
    """Return the rules that a batch breaks, read on a day; none means that it may be learned from.

    Only what can be learned from counts: of movies without a rating, or still to come, much is usually missing.
    """
    when = pd.Timestamp(day or LAST_DATE)
    movies = movies[movies["vote_average"].notna() & ~(movies["release_date"] > when)]
    violations = []
    if len(movies) >= MIN_ROWS_FOR_SHARES:
        new = (when - movies["release_date"]).dt.days < NEW_DAYS
        for name, most in MAX_MISSING.items():
            share = float(_missing(movies[name]).mean())
            usual = float(np.where(new, min(most * NEW_ALLOWANCE, 1.0), most).mean())
            if share > usual and name not in SPARSE_SOURCES.get(source, ()):
                violations.append(Violation(f"{name} is missing in at most {usual:.0%}", f"missing in {share:.0%}"))
        if movies["vote_average"].std() < 0.05:
            violations.append(Violation("ratings differ", f"standard deviation {movies['vote_average'].std():.3f}"))
    for name, absurd in _absurd(movies).items():
        if absurd.sum() > MAX_ABSURD * len(movies):
            rule = f"{name} lies in {' to '.join(_written(end) for end in _range(name))}"
            example = _written(movies[name][absurd].iloc[0])
            violations.append(Violation(rule, f"{example} and {int(absurd.sum()) - 1} more"))
    return violations


def mend(movies: pd.DataFrame) -> dict[str, pd.Series]:
    """Return, by name, the columns that hold values which cannot be, with those missing: one costs itself, no more."""
    return {name: movies[name].mask(absurd) for name, absurd in _absurd(movies).items() if absurd.any()}


def _absurd(movies: pd.DataFrame) -> dict[str, pd.Series]:
    """Say of each value of the fields with a range whether it lies outside."""
    return {name: movies[name].notna() & ~movies[name].between(*_range(name)) for name in (*RANGES, "release_date")}


def _range(name: str) -> tuple[float, float] | tuple[pd.Timestamp, pd.Timestamp]:
    return RANGES[name] if name in RANGES else (pd.Timestamp(FIRST_DATE), pd.Timestamp(LAST_DATE))


def _written(value: float | pd.Timestamp) -> str:
    return str(value.date()) if isinstance(value, pd.Timestamp) else f"{value:g}"


def check_size(rows: int, last_rows: int | None) -> list[Violation]:
    """Return the broken rule where a catalogue has shrunk against the last one that was learned from."""
    if last_rows and rows < MIN_SHARE_OF_LAST * last_rows:
        rule = f"at least {MIN_SHARE_OF_LAST:.0%} of the last catalogue's rows"
        return [Violation(rule, f"{rows} rows, the last had {last_rows}")]
    return []


def _missing(column: pd.Series) -> pd.Series:
    """Say of each value whether it is missing; an empty list or text is."""
    return column.map(lambda value: (len(value) == 0) if hasattr(value, "__len__") else value != value or value is None)
