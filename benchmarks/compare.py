"""Our model, the baselines and the recipes of three earlier systems, walk-forward on the real movies of ../shared.

For each year 2016 to 2023 everything is fitted on what was released before it and judged on its movies with 50 votes or
more. System A: runtime, main genre, language, polarity and length of the overview, XGBoost. System B: TF-IDF of the
overview, year and main genre, LightGBM, without the votes that leaked. System D: a Random Forest on year and runtime.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from xgboost import XGBRegressor

from models.body import record
from models.estimator import RatingModel
from models.evaluation import MIN_VOTES, baselines, judge_part, metrics, segments
from models.facts import cached_sentiment, iterate
from models.features import MovieFeatures
from models.folds import learnable
from models.movie import INPUTS
from settings import PROJECT
from tasks.tmdb import now

REAL = PROJECT.parent / "shared" / "data" / "tmdb"
YEARS = range(2016, 2024)
LARGE = 300  # movies of a segment whose coverage is shown
TRAILING = "trailing five-year mean"
KNOWN = {
    "title, genres, language": ("title", "genres", "original_language"),
    "a synopsis": ("overview",),
    "all but budget and runtime": tuple(name for name in INPUTS if name not in ("budget", "runtime")),
    "all but the release date": tuple(name for name in INPUTS if name != "release_date"),
}
Rival = Callable[[pd.DataFrame, pd.DataFrame], NDArray[np.float64]]


def main() -> None:
    """Print the table."""
    if not REAL.exists():
        sys.exit(f"{REAL} with the real movies is not here")
    movies = real_movies()
    rivals: dict[str, Rival] = {
        "system A (XGBoost on five facts)": system_a,
        "system B (LightGBM on TF-IDF)": system_b,
        "system D (Random Forest, two facts)": system_d,
        "plain facts, LightGBM": plain_facts,
    }
    predicted: dict[str, list[NDArray[np.float64]]] = {}
    seconds: dict[str, float] = {}
    held: dict[float, list[NDArray[np.bool_]]] = {0.8: [], 0.9: []}
    widths: dict[float, list[NDArray[np.float64]]] = {0.8: [], 0.9: []}
    less: dict[str, list[list[NDArray[np.float64]]]] = {}
    actual, years, parts = [], [], []
    for year in YEARS:
        start = pd.Timestamp(year, 1, 1)
        train = movies[movies["release_date"] < start].reset_index(drop=True)
        test = movies[(movies["release_date"].dt.year == year) & (movies["vote_count"] >= MIN_VOTES)]
        y = test["vote_average"].to_numpy(dtype=float)
        actual.append(y)
        years.append(np.full(len(y), year))
        parts.append(test)
        for name, values in baselines(train[train["vote_count"] >= MIN_VOTES], test).items():
            predicted.setdefault(name, []).append(values)
        for name, rival in rivals.items():
            begun = time.perf_counter()
            predicted.setdefault(name, []).append(rival(train, test))
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun
        begun = time.perf_counter()
        model = RatingModel().fit(train)
        predicted.setdefault("Premiere", []).append(model.predict(test))
        seconds["Premiere"] = seconds.get("Premiere", 0.0) + time.perf_counter() - begun
        for level in held:
            _, low, high = model.predict_interval(test, level)
            held[level].append((y >= low) & (y <= high))
            widths[level].append(high - low)
        for name, known in KNOWN.items():
            bare = [{field: movie[field] for field in known} for movie in iterate(test)]
            less.setdefault(name, []).append([y, *model.predict_interval(bare)])
    y, year_of = np.concatenate(actual), np.concatenate(years)
    recent = year_of >= 2021
    table = {name: np.concatenate(parts) for name, parts in predicted.items()}
    base = metrics(y, table[TRAILING])["rmse"]
    print(f"{len(y)} movies of {YEARS[0]} to {YEARS[-1]}, standard deviation {y.std():.3f}\n")
    print(f"{'':<38}{'RMSE':>7}{'2021-23':>9}{'MAE':>7}{'R2':>7}{'rank':>7}{'skill':>7}{'s':>6}")
    for name, p in sorted(table.items(), key=lambda item: -metrics(y, item[1])["rmse"]):
        m, late = metrics(y, p), metrics(y[recent], p[recent])["rmse"]
        took = f"{seconds[name]:6.0f}" if name in seconds else ""
        print(
            f"{name:<38}{m['rmse']:7.3f}{late:9.3f}{m['mae']:7.3f}{m['r2']:7.2f}{m['spearman']:7.2f}"
            f"{1 - (m['rmse'] / base) ** 2:7.2f}{took}"
        )
    for level in held:
        inside, wide = np.concatenate(held[level]), np.concatenate(widths[level])
        print(
            f"\n{level:.0%} intervals held {inside.mean():.1%} ({inside[recent].mean():.1%} in 2021-23), "
            f"{wide.mean():.2f} wide"
        )
        low, high = np.quantile(wide, [0.05, 0.95])
        print(f"  from {low:.2f} to {high:.2f} wide for nine movies of ten")
        large = {n: part for n, part in segments(pd.concat(parts)).items() if part.sum() >= LARGE and n[:4] != "year"}
        print("  " + ", ".join(f"{name} {inside[part].mean():.1%}" for name, part in large.items()))
    print("\nwhere less is known: RMSE, bias, and what 90% intervals held")
    for name, yearly in less.items():
        y, rated, low, high = np.concatenate(yearly, axis=1)
        part = judge_part(name, y, rated, (y >= low) & (y <= high))
        figures = f"{part['rmse']:7.3f}{part['bias']:+9.3f}{part['coverage_90']:9.1%}"
        print(f"  {name:<36}{figures}, {(high - low).mean():.2f} wide")


def real_movies() -> pd.DataFrame:
    """Return the rated movies of both files, newest record of each id, oldest first."""
    records: dict[int, dict[str, Any]] = {}
    for path in sorted(REAL.glob("*.jsonl.gz")):  # 2017 before 2025
        with gzip.open(path, "rt") as lines:
            for line in lines:
                movie = record(json.loads(line), now())
                records[movie["id"]] = movie
    movies = pd.DataFrame(list(records.values()))
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    movies = movies[movies["release_date"].notna() & (movies["vote_count"] >= 10)]
    return movies.sort_values(["release_date", "id"]).reset_index(drop=True)


def system_a(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """Five facts, codes by order of appearance."""
    train = train[train["vote_count"] >= MIN_VOTES]

    def facts(movies: pd.DataFrame) -> NDArray[np.float64]:
        genre = movies["genres"].map(lambda g: codes["genre"].get(g[0] if g else "", -1))
        language = movies["original_language"].map(lambda v: codes["language"].get(v, -1))
        words = movies["overview"].fillna("")
        polarity = words.map(lambda text: cached_sentiment(text)[0])
        return np.column_stack([movies["runtime"], genre, language, polarity, words.str.len()]).astype(float)

    first = pd.unique(train["genres"].map(lambda g: g[0] if g else ""))
    codes = {"genre": {g: n for n, g in enumerate(first)}}
    codes["language"] = {v: n for n, v in enumerate(pd.unique(train["original_language"]))}
    model = XGBRegressor(n_estimators=200, max_depth=4, learning_rate=0.1, n_jobs=1, random_state=0)
    return np.asarray(model.fit(facts(train), train["vote_average"]).predict(facts(test)), dtype=float)


def system_b(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """300 words of the overview, year and main genre."""
    train = train[train["vote_count"] >= MIN_VOTES]
    words = TfidfVectorizer(max_features=300, stop_words="english").fit(train["overview"].fillna(""))
    genres = {g: n for n, g in enumerate(pd.unique(train["genres"].map(lambda g: g[0] if g else "")))}

    def facts(movies: pd.DataFrame) -> Any:
        genre = movies["genres"].map(lambda g: genres.get(g[0] if g else "", -1))
        dense = np.column_stack([movies["release_date"].dt.year, genre]).astype(float)
        return sparse.hstack([words.transform(movies["overview"].fillna("")), sparse.csr_matrix(dense)]).tocsr()

    model = LGBMRegressor(n_jobs=1, verbosity=-1, random_state=0).fit(facts(train), train["vote_average"])
    return np.asarray(model.predict(facts(test)), dtype=float)


def system_d(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """Year and runtime."""
    train = train[train["vote_count"] >= MIN_VOTES]

    def facts(movies: pd.DataFrame) -> NDArray[np.float64]:
        return np.column_stack([movies["release_date"].dt.year, movies["runtime"].fillna(100)]).astype(float)

    model = RandomForestRegressor(n_estimators=100, n_jobs=1, random_state=0)
    return np.asarray(model.fit(facts(train), train["vote_average"]).predict(facts(test)), dtype=float)


def plain_facts(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """Our own facts and weights without histories and without the linear voice."""
    features = MovieFeatures(histories=False).fit(train)
    rows, weights = learnable(train, test["release_date"].min())
    learner = RatingModel("lightgbm").learner()
    learner.fit(features.transform(train)[rows], train["vote_average"].to_numpy()[rows], sample_weight=weights[rows])
    return np.asarray(learner.predict(features.transform(test)), dtype=float)
