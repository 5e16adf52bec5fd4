"""Our model, the baselines and the recipes of three earlier systems, walk-forward on the movies of RECORDED_DATA.

For each year 2016 to 2023 everything is fitted on what was released before it and judged on its movies with 50 votes or
more: by their whole records, by each way of asking about them, and with each fact told or not. System A: runtime, main
genre, language, polarity and length of the overview, XGBoost. System B: TF-IDF of the overview, year and main genre,
LightGBM, without the votes that leaked. System D: a Random Forest on year and runtime.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
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
from models.evaluation import MIN_VOTES, TRAILING, baselines, judge_part, metrics, segments
from models.facts import iterate, written
from models.features import MovieFeatures
from models.folds import learnable
from models.linear import LinearText
from models.movie import INPUTS, is_told
from models.questions import FORM, PITCH, RECORD, TYPED, WAYS, mask_fields
from models.sentiment import Sentiments
from settings import get_settings
from tasks.foundation.clock import now

YEARS = range(2016, 2024)
SENTIMENTS = Sentiments()  # each text is read once
LARGE = 300  # movies of a segment whose coverage is shown
# What else may be told, beside the ways of asking that a model is held to.
ALSO = {
    "the page's form": FORM,
    "a title": ("title",),
    "a synopsis": ("overview",),
    "all but the release date": tuple(name for name in INPUTS if name != "release_date"),
}
Rival = Callable[[pd.DataFrame, pd.DataFrame], NDArray[np.float64]]
Rated = list[list[NDArray[np.float64]]]  # for each year: actual ratings, predicted ones, ends of their intervals


def main() -> None:
    """Print the table."""
    recorded = get_settings().recorded_data
    if recorded is None:
        sys.exit("RECORDED_DATA is not set: let it name a folder of recorded movies, see .env.example")
    movies = real_movies(recorded / "data" / "tmdb")
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
    told: dict[str, Rated] = {}
    pitches: list[NDArray[np.float64]] = []
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
        records = list(iterate(test))
        told.setdefault(RECORD, []).append([y, *model.predict_interval(test)])
        for name, fields in (WAYS | ALSO).items():
            told.setdefault(name, []).append([y, *model.predict_interval([mask_fields(r, fields) for r in records])])
        for name, fact in product(("a title", "typed"), INPUTS[1:]):
            fields = {"a title": ("title",), "typed": TYPED}[name]
            has = [n for n, r in enumerate(records) if is_told(r[fact])]
            for words, which in (("without", set(fields) - {fact}), ("with", {*fields, fact})):
                bare = [mask_fields(records[n], which) for n in has]
                told.setdefault(f"{name} {words} {fact}", []).append([y[has], *model.predict_interval(bare)])
        pitches.append(pitches_alone(train, test))
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
    print("\nby what is told: RMSE, bias, and what 90% intervals held")
    for name in (RECORD, *WAYS, *ALSO):
        rating, low, high = np.concatenate(told[name], axis=1)[1:]
        part = judge_part(name, y, rating, (y >= low) & (y <= high))
        late = metrics(y[recent], rating[recent])["rmse"]
        figures = f"{part['rmse']:7.3f}{part['bias']:+9.3f}{part['coverage_90']:9.1%}"
        print(f"  {name:<36}{figures}, {(high - low).mean():.2f} wide; RMSE of 2021-23 {late:.3f}")
    alone = np.concatenate(pitches)
    print(f"  a pitch, by a model that learned from pitches alone: {metrics(y, alone)['rmse']:.3f}")
    print("\nwhat a fact is worth to those movies that have it: RMSE and width without and with it")
    larger, wider = {}, {}
    for name, fact in product(("a title", "typed"), INPUTS[1:]):
        without, with_it = (np.concatenate(told[f"{name} {words} {fact}"], axis=1) for words in ("without", "with"))
        error = [metrics(one[0], one[1])["rmse"] for one in (without, with_it)]
        width = [(one[3] - one[2]).mean() for one in (without, with_it)]
        print(f"  {name:<8} {fact:<24}{error[0]:7.3f}{error[1]:7.3f}{error[1] - error[0]:+8.3f}", end="")
        print(f"{width[0]:9.2f}{width[1]:6.2f}{width[1] - width[0]:+7.2f}")
        larger[error[1] - error[0]] = wider[width[1] - width[0]] = f"{fact} beside {name}"
    for what, found in (("RMSE", larger), ("mean width of the interval", wider)):
        print(f"  at worst a fact that is told moves the {what} by {max(found):+.3f}: {found[max(found)]}")


def real_movies(folder: Path) -> pd.DataFrame:
    """Return the rated movies of both files of a folder, newest record of each id, oldest first."""
    records: dict[int, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl.gz")):  # 2017 before 2025
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
        polarity = words.map(lambda text: SENTIMENTS(text)[0])
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


def pitches_alone(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """Rate pitches by our own learners on pitches alone: how much of the error is what a pitch does not tell."""
    features = MovieFeatures().fit(train)
    rows, weights = learnable(train, test["release_date"].min())
    learned, judged = ([mask_fields(r, PITCH) for r in iterate(movies)] for movies in (train.iloc[rows], test))
    table, texts = features.transform(learned, sentiment=SENTIMENTS), [written(m) for m in learned]
    ratings = train["vote_average"].to_numpy(dtype=float)[rows]
    trees = RatingModel("lightgbm").learner().fit(table, ratings, sample_weight=weights[rows])
    linear = LinearText().fit(table, texts, ratings, weights[rows], features.columns_)
    asked_about = features.transform(judged)
    members = trees.predict(asked_about), linear.predict(asked_about, [written(movie) for movie in judged])
    return np.asarray(np.mean(members, axis=0), dtype=float)


def plain_facts(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """Our own facts and weights without histories and without the linear member."""
    features = MovieFeatures(histories=False).fit(train)
    rows, weights = learnable(train, test["release_date"].min())
    learner = RatingModel("lightgbm").learner()
    learner.fit(features.transform(train)[rows], train["vote_average"].to_numpy()[rows], sample_weight=weights[rows])
    return np.asarray(learner.predict(features.transform(test)), dtype=float)
