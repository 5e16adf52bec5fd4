"""Judge predictions as they will be used: on movies released after everything that was learned from.

Movies are split by release date, never at random. Every figure stands beside baselines that need no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from models.history import Level

MIN_VOTES = 50  # below, a rating says more about the few who voted than about the movie
HOLDOUT_DAYS = 365
CONFIDENCES = (0.8, 0.9)  # of the intervals that a model is judged by
TRAILING = "trailing five-year mean"
LINEAR = "linear model"  # the baseline that is one half of the model itself


def metrics(actual: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Return rmse, mae, r2 and spearman. Raises ValueError for empty, unequal or non-finite input."""
    y, p = np.asarray(actual, dtype=float), np.asarray(predicted, dtype=float)
    if y.shape != p.shape or y.size == 0:
        raise ValueError(f"need as many predictions as ratings, and at least one: got {p.shape} for {y.shape}")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError("ratings and predictions must be finite numbers")
    error = y - p
    spread = float(((y - y.mean()) ** 2).mean())
    constant = len(np.unique(p)) < 2 or len(np.unique(y)) < 2
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": 1 - float((error**2).mean()) / spread if spread else 0.0,
        "spearman": 0.0 if constant else float(pd.Series(y).corr(pd.Series(p), method="spearman")),
    }


def skill(actual: ArrayLike, predicted: ArrayLike, baseline: ArrayLike) -> float:
    """Return the share of the baseline's squared error that the prediction removes: 1 is perfect, 0 no better."""
    return 1 - (metrics(actual, predicted)["rmse"] / metrics(actual, baseline)["rmse"]) ** 2


def split_by_release(movies: pd.DataFrame, as_of: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split rated movies released before `as_of` into those to learn from and the hold-out of the newest twelve months.

    The hold-out keeps only movies with at least `MIN_VOTES` votes. Raises ValueError where either side is empty.
    """
    known = movies[movies["release_date"].notna() & (movies["release_date"] < as_of) & movies["vote_average"].notna()]
    start = as_of - pd.Timedelta(days=HOLDOUT_DAYS)
    train = known[known["release_date"] < start]
    holdout = known[(known["release_date"] >= start) & (known["vote_count"] >= MIN_VOTES)]
    for name, part in (("training movie", train), ("hold-out movie", holdout)):
        if part.empty:
            raise ValueError(
                f"no {name}: {len(known)} rated movies were released before {as_of.date()} and the hold-out starts "
                f"{start.date()}; collect more years, or choose another as_of"
            )
    return train.reset_index(drop=True), holdout.reset_index(drop=True)


def walk_forward(movies: pd.DataFrame, years: int, end: pd.Timestamp) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield (earlier rows, rows to judge) for each of the last `years` twelve-month periods before `end`, oldest first.

    Judged rows have at least `MIN_VOTES` votes. Periods with nothing to learn from or to judge are left out.
    """
    released, votes = movies["release_date"], movies["vote_count"]
    for back in range(years, 0, -1):
        start = end - pd.DateOffset(years=back)
        stop = end - pd.DateOffset(years=back - 1)
        earlier = np.flatnonzero(released < start)
        judged = np.flatnonzero((released >= start) & (released < stop) & (votes >= MIN_VOTES))
        if len(earlier) and len(judged):
            yield earlier, judged


def baselines(
    train: pd.DataFrame, test: pd.DataFrame, linear: ArrayLike | None = None
) -> dict[str, NDArray[np.float64]]:
    """Predict `test` by the mean of all training movies, of the last five years, by genre of those.

    These need no model. `linear`, what the linear half of a model predicts, makes the list complete.
    """
    ratings = train["vote_average"].to_numpy(dtype=float)
    level = Level(_days(train), ratings)
    now = [level.at(int(train["release_date"].max().toordinal()) + 1)] * len(test)
    by_genre = _trailing(train).explode("genres").groupby("genres")["vote_average"].mean().to_dict()
    genre = [np.mean([by_genre.get(g, now[0]) for g in genres] or [now[0]]) for genres in test["genres"]]
    found = {
        "training mean": np.full(len(test), ratings.mean()),
        TRAILING: np.array(now, dtype=float),
        "genre mean": np.array(genre, dtype=float),
    }
    return found if linear is None else found | {LINEAR: np.asarray(linear, dtype=float)}


def usual_intervals(
    train: pd.DataFrame, test: pd.DataFrame, levels: Iterable[float]
) -> dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return for each level (0 to 1) the ends, alike for all of `test`, that held it in the last five training years.

    They need no model: the quantiles of the ratings.
    """
    ratings = _trailing(train)["vote_average"].to_numpy(dtype=float)
    ends = {level: np.quantile(ratings, [(1 - level) / 2, (1 + level) / 2]) for level in levels}
    return {level: (np.full(len(test), low), np.full(len(test), high)) for level, (low, high) in ends.items()}


def interval_score(actual: ArrayLike, low: ArrayLike, high: ArrayLike, level: float) -> NDArray[np.float64]:
    """Return how wide each of n intervals is, plus 2 / (1 - level) for each point by which it missed: less is better.

    On average it is least for the true quantiles (Winkler 1972), so that neither wide nor narrow ones gain by it.
    """
    y, bottom, top = (np.asarray(values, dtype=float) for values in (actual, low, high))
    missed = np.maximum(bottom - y, 0) + np.maximum(y - top, 0)
    score: NDArray[np.float64] = top - bottom + 2 / (1 - level) * missed
    return score


def paired_bootstrap(
    actual: ArrayLike, champion: ArrayLike, challenger: ArrayLike, rounds: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """Return `rounds` resampled differences in RMSE, challenger minus champion, for the same movies."""
    y = np.asarray(actual, dtype=float)
    old, new = (y - np.asarray(champion, dtype=float)) ** 2, (y - np.asarray(challenger, dtype=float)) ** 2
    rows = np.random.default_rng(seed).integers(0, len(y), size=(rounds, len(y)))
    difference: NDArray[np.float64] = np.sqrt(new[rows].mean(axis=1)) - np.sqrt(old[rows].mean(axis=1))
    return difference


def sign_flip(differences: ArrayLike) -> NDArray[np.float64]:
    """Return for each row of n differences the chance, 0 to 1, of a sum as large if any sign could as well be turned.

    The differences are those in squared error, of the same movies. Where two models are alike, so that their errors
    on a movie could be exchanged, the chance is that of the sign-flip test, which needs no normal errors, no second
    moment and no large n. It comes from a saddlepoint (Lugannani and Rice), and never exceeds Chernoff's bound. A sum
    of 0 or less has the chance 1.
    """
    all_rows = np.atleast_2d(np.asarray(differences, dtype=float))
    chance = np.ones(len(all_rows))
    above = all_rows.sum(axis=1) > 0
    rows = all_rows[above] / np.sqrt((all_rows[above] ** 2).sum(axis=1, keepdims=True))
    total = rows.sum(axis=1)
    tilt, step = total.copy(), total
    while step.size and step.max() > 1e-9 and tilt.max() < 1e4:  # infinite where every difference is above 0
        lean = np.tanh(tilt[:, None] * rows)
        spread = (rows**2 * (1 - lean**2)).sum(axis=1)
        step = (total - (rows * lean).sum(axis=1)) / np.maximum(spread, 1e-12)
        tilt += step  # from the left to the root of a concave function: no step of Newton's passes it
    tilted = tilt[:, None] * rows
    spread = (rows**2 * (1 - np.tanh(tilted) ** 2)).sum(axis=1)
    exponent = np.maximum(tilt * total - (np.logaddexp(tilted, -tilted) - np.log(2)).sum(axis=1), 1e-12)
    root = np.sqrt(2 * exponent)
    normal = np.maximum(tilt * np.sqrt(spread), 1e-300)
    chance[above] = np.minimum(norm.sf(root + np.log(normal / root) / root), np.exp(-exponent))
    return chance


def _trailing(movies: pd.DataFrame) -> pd.DataFrame:
    """Return the movies of the last five years that are known."""
    recent: pd.DataFrame = movies[
        movies["release_date"] > movies["release_date"].max() - pd.Timedelta(days=Level.YEARS * 365)
    ]
    return recent


def _days(movies: pd.DataFrame) -> NDArray[np.int64]:
    return np.array([d.toordinal() for d in movies["release_date"]], dtype=np.int64)


def bootstrap_interval(
    actual: ArrayLike, predicted: ArrayLike, rounds: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap interval of rmse, mae and r2: how far chance moves them on so many movies."""
    y, p = np.asarray(actual, dtype=float), np.asarray(predicted, dtype=float)
    rows = np.random.default_rng(seed).integers(0, len(y), size=(rounds, len(y)))
    error, drawn = (y - p)[rows], y[rows]
    squared = (error**2).mean(axis=1)
    spread = np.maximum(drawn.var(axis=1), 1e-12)
    drawn_metrics = {"rmse": np.sqrt(squared), "mae": np.abs(error).mean(axis=1), "r2": 1 - squared / spread}
    return {
        name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        for name, values in drawn_metrics.items()
    }


def segments(movies: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return parts of a hold-out by what matters to those who ask: name and which of the n movies belong."""
    genres = movies["genres"].explode().value_counts()
    parts = {f"genre {genre}": movies["genres"].map(lambda g, genre=genre: genre in g) for genre in genres.index[:10]}
    english = movies["original_language"] == "en"
    parts |= {"in English": english, "in other languages": ~english}
    parts |= {"budget known": movies["budget"].notna(), "budget unknown": movies["budget"].isna()}
    parts |= {
        f"year {year}": movies["release_date"].dt.year == year for year in movies["release_date"].dt.year.unique()
    }
    return {name: part.to_numpy(dtype=bool) for name, part in parts.items()}


def judge_segments(
    movies: pd.DataFrame,
    predicted: NDArray[np.float64],
    inside: NDArray[np.bool_],
    debuts: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Return for each segment of a hold-out: movies, rmse, bias (predicted minus actual), share inside intervals."""
    parts = segments(movies) | {"director's debut": debuts, "director known": ~debuts}
    actual = movies["vote_average"].to_numpy(dtype=float)
    return [judge_part(name, actual[part], predicted[part], inside[part]) for name, part in parts.items() if part.any()]


def judge_part(
    name: str, actual: NDArray[np.float64], predicted: NDArray[np.float64], inside: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return how n movies of a hold-out were predicted; `inside` says of each whether its interval held."""
    return {
        "segment": name,
        "movies": len(actual),
        "rmse": float(np.sqrt(((actual - predicted) ** 2).mean())),
        "bias": float((predicted - actual).mean()),
        "coverage_90": float(inside.mean()),
    }
