"""What a batch of movies must be like before a model may learn from it. Pure: a frame in, broken rules out."""

from __future__ import annotations

from dataclasses import dataclass

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
RANGES = {"vote_average": (0.0, 10.0), "vote_count": (0.0, 1e7), "runtime": (0.0, 60_000.0), "budget": (0.0, 5e9)}
MIN_ROWS_FOR_SHARES = 100  # of fewer, one odd movie would be a share
MIN_SHARE_OF_LAST = 0.8  # of the rows of the last accepted catalogue


@dataclass(frozen=True)
class Violation:
    """A broken rule, in words, with what was found."""

    rule: str
    found: str


def check_batch(movies: pd.DataFrame, source: str = "tmdb") -> list[Violation]:
    """Return the rules of null shares and ranges that a batch breaks; none means that it may be learned from."""
    violations = []
    if movies["id"].duplicated().any():
        violations.append(Violation("ids are unique", f"{int(movies['id'].duplicated().sum())} come twice"))
    if len(movies) >= MIN_ROWS_FOR_SHARES:
        for name, most in MAX_MISSING.items():
            share = float(_missing(movies[name]).mean())
            if share > most and name not in SPARSE_SOURCES.get(source, ()):
                violations.append(Violation(f"{name} is missing in at most {most:.0%}", f"missing in {share:.0%}"))
        rated = movies["vote_average"].dropna()
        if len(rated) >= MIN_ROWS_FOR_SHARES and rated.std() < 0.05:
            violations.append(Violation("ratings differ", f"standard deviation {rated.std():.3f}"))
    for name, (low, high) in RANGES.items():
        values = movies[name].dropna()
        wrong = values[(values < low) | (values > high)]
        if len(wrong):
            violations.append(
                Violation(f"{name} lies in {low:g} to {high:g}", f"{wrong.iloc[0]:g} and {len(wrong) - 1} more")
            )
    dates = movies["release_date"].dropna()
    wrong = dates[(dates < pd.Timestamp(FIRST_DATE)) | (dates > pd.Timestamp(LAST_DATE))]
    if len(wrong):
        violations.append(Violation(f"release_date lies in {FIRST_DATE} to {LAST_DATE}", f"{wrong.iloc[0].date()}"))
    return violations


def check_size(rows: int, last_rows: int | None) -> list[Violation]:
    """Return the broken rule where a catalogue has shrunk against the last one that was learned from."""
    if last_rows and rows < MIN_SHARE_OF_LAST * last_rows:
        rule = f"at least {MIN_SHARE_OF_LAST:.0%} of the last catalogue's rows"
        return [Violation(rule, f"{rows} rows, the last had {last_rows}")]
    return []


def _missing(column: pd.Series) -> pd.Series:
    """Say of each value whether it is missing; an empty list or text is."""
    return column.map(lambda value: (len(value) == 0) if hasattr(value, "__len__") else value != value or value is None)
