"""The peers of the serving benchmark: plain FastAPI apps with the champion, read by joblib when they start.

`pandas` numbers a movie as such apps do: a data frame of the request, a column at a time, TextBlob and TF-IDF as their
libraries offer them, scikit-learn's `predict`. What people did before, it takes from the model's own tables, which
favours it. `model` calls Premiere's fast model instead: what is left is the price of the server.

    python -m benchmarks.peers pandas model.joblib 8000
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from typing import Any

import joblib
import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from textblob import TextBlob

from models.budgets import budget_level
from models.estimator import RatingModel
from models.facts import (
    _SEQUEL,
    COUNTRIES,
    FACTS,
    LANGUAGES,
    LEAST_BUDGET,
    TOLD,
    written,
)
from models.features import MovieFeatures
from models.movie import Movie, is_told
from models.vocabulary import COUNTRY_WORDS, GENRE_WORDS, GENRES, LANGUAGE_WORDS


def pandas_facts(frame: pd.DataFrame, features: MovieFeatures) -> pd.DataFrame:
    """Number the plain facts of questions, a column at a time: the numbers of `models.facts.facts_row`."""
    out: dict[str, Any] = {}
    told = frame[list(TOLD)].apply(lambda column: column.apply(is_told))
    today = date.fromordinal(features.today_)
    released = pd.to_datetime(frame["release_date"])
    assumed = released.fillna(pd.Timestamp(today))
    out["year"] = assumed.dt.year + (assumed.dt.dayofyear - 1) / 365.25
    out["month"] = released.dt.month
    out["day_of_year"] = released.dt.dayofyear
    out["weekday"] = released.dt.weekday
    out["runtime"] = frame["runtime"].astype(float)
    budget = frame["budget"].astype(float)
    out["budget_log"] = np.log(budget.where(budget >= LEAST_BUDGET))
    told["budget"] &= out["budget_log"].notna()
    out["budget_relative"] = out["budget_log"] - assumed.dt.year.apply(
        lambda year: budget_level(*features.budgets_, year, None)
    )
    genres = frame["genres"].apply(GENRE_WORDS.read)
    for name in GENRES:
        out[f"genre_{name}"] = genres.apply(lambda names, name=name: name in names).where(told["genres"])
    out["n_genres"] = genres.str.len().replace(0, np.nan)
    out["first_genre"] = genres.str[0].map({name: n for n, name in enumerate(GENRES)}).fillna(-1).where(told["genres"])
    language = frame["original_language"].apply(lambda word: LANGUAGE_WORDS.read([word] if word else [])).str[0]
    told["original_language"] = language.notna()
    for code in LANGUAGES:
        out[f"language_{code}"] = (language == code).where(told["original_language"])
    out["language_other"] = (~language.isin(LANGUAGES)).where(told["original_language"])
    countries = frame["production_countries"].apply(COUNTRY_WORDS.read)
    told["production_countries"] = countries.str.len() > 0
    for code in COUNTRIES:
        within = countries.apply(lambda codes, code=code: code in codes)
        out[f"country_{code}"] = within.where(told["production_countries"])
    out["n_countries"] = countries.str.len().replace(0, np.nan)
    out["n_languages"] = frame["spoken_languages"].apply(LANGUAGE_WORDS.read).str.len().replace(0, np.nan)
    told["spoken_languages"] = out["n_languages"].notna()
    lists = {"companies": "production_companies"}
    for name, field in (lists | {"directors": "directors", "writers": "writers"}).items():
        out[f"n_{name}"] = frame[field].str.len().replace(0, np.nan)
    overview, tagline, title = (frame[field].fillna("").astype(str) for field in ("overview", "tagline", "title"))
    out["overview_characters"] = overview.str.len().replace(0, np.nan)
    out["overview_words"] = overview.str.split().str.len().replace(0, np.nan)
    sentiment = overview.apply(lambda text: TextBlob(text).sentiment)
    for n, what in enumerate(("polarity", "subjectivity")):
        out[f"overview_{what}"] = sentiment.str[n].where(overview != "")
    readable = (sentiment.str[0] != 0) | (sentiment.str[1] != 0)
    out["overview_readable"] = readable.where(overview != "")
    out["tagline_characters"] = tagline.str.len().replace(0, np.nan)
    out["title_characters"] = title.str.len()
    out["title_words"] = title.str.split().str.len()
    out["title_digit"] = title.str.contains(r"\d")
    out["title_colon"] = title.str.contains(":", regex=False)
    out["title_sequel"] = title.apply(lambda text: bool(_SEQUEL.search(text)))
    original = frame["original_title"].fillna("").astype(str)
    out["title_translated"] = (original != title).where(original != "")
    out |= {f"told_{name}": told[name].astype(float).replace(0, np.nan) for name in TOLD}
    return pd.DataFrame(out)[list(FACTS)].astype(float)


def pandas_table(model: RatingModel, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Number movies (n, f) as `MovieFeatures.transform` does."""
    features = model.features_
    facts = pandas_facts(frame, features)
    if not features.histories:
        return facts.to_numpy()
    days = pd.to_datetime(frame["release_date"]).apply(
        lambda day: day.toordinal() if pd.notna(day) else features.today_
    )
    facts["expected"] = features.expectation_.predict(facts.to_numpy(), days.to_numpy())
    tables = features._tables or features._load()
    pasts = frame.assign(day=days).apply(
        lambda movie: pd.Series(features._history_row(movie, movie["day"], movie["day"], tables)), axis=1
    )
    return pd.concat([facts, pasts], axis=1).to_numpy()


def pandas_rate(model: RatingModel, movies: Sequence[dict[str, Any]]) -> list[NDArray[np.float64]]:
    """Return ratings, lower and upper ends, n each."""
    frame = pd.DataFrame(movies)
    table = pandas_table(model, frame)
    trees = model.trees_.predict(table)
    texts = [written(movie) for movie in frame.to_dict("records")]
    linear = model.linear_.ridge_.predict(model.linear_._design(table, texts))
    untold = model._untold(table)
    ratings = model._blend(trees, linear) + model.recalibration_.predict(untold)
    half = model.interval_.half_width(model._uncertainty(table, trees, linear, untold), 0.9)
    return [np.clip(values, 0, 10) for values in (ratings, ratings - half, ratings + half)]


def main(kind: str, path: str, port: int) -> None:
    """Serve until stopped."""
    model: RatingModel = joblib.load(path)
    app = FastAPI()

    def rate(movies: list[Movie]) -> list[dict[str, float]]:
        if kind == "pandas":
            values = pandas_rate(model, [movie.facts() for movie in movies])
        else:
            values = list(model.predict_interval([movie.told() for movie in movies], 0.9))
        return [
            {"rating": r, "low": low, "high": high} for r, low, high in zip(*(v.tolist() for v in values), strict=True)
        ]

    @app.post("/predict")
    def predict(body: dict[str, Movie]) -> Any:
        return rate([body["movie"]])[0]

    @app.post("/predict/batch")
    def batch(body: dict[str, list[Movie]]) -> Any:
        return rate(body["movies"])

    @app.get("/ready")
    def ready() -> Any:
        return {}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
