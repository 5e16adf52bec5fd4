"""Why a rating is what it is: additive contributions of each raw field, in rating points, and the movies most like it.

Trees explain themselves: XGBoost and LightGBM by their own TreeSHAP, a Random Forest by what each split on a row's path
changes. The linear voice contributes its coefficients against the average movie. Shares add up to the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from models.facts import RawMovie, entities, entity_name, text
from models.history import Past
from models.vocabulary import fold

EXPECTED = "expected"
MOST_NAMES = 3
NEIGHBOURS = 5


@dataclass(frozen=True)
class Reason:
    """What one raw field contributes: rating points, and in words what was known."""

    field: str
    points: float
    words: str


@dataclass(frozen=True)
class Neighbour:
    """A known movie that resembles the one asked about."""

    title: str
    year: int
    rating: float
    likeness: float  # 1 is the same in all that counts, 0 nothing alike


def tree_contributions(trees: Any, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return contributions of shape (n, n_features + 1), the last one the base, that sum to the trees' predictions."""
    if isinstance(trees, xgboost.XGBRegressor):
        shares = trees.get_booster().predict(xgboost.DMatrix(table), pred_contribs=True).astype(float)
        shares[:, -1] += trees.predict(table).astype(float) - shares.sum(axis=1)  # its sums are single precision
        return shares
    if hasattr(trees, "booster_"):
        return np.asarray(trees.booster_.predict(table, pred_contrib=True), dtype=float)
    shares = np.zeros((len(table), table.shape[1] + 1))
    single = table.astype(np.float32)
    for estimator in trees.estimators_:
        tree = estimator.tree_
        values = tree.value[:, 0, 0]
        paths = tree.decision_path(single)  # of each row in turn its nodes, from the root down
        rows = np.repeat(np.arange(len(table)), np.diff(paths.indptr))
        steps = np.flatnonzero(rows[1:] == rows[:-1])
        above, below = paths.indices[steps], paths.indices[steps + 1]
        np.add.at(shares, (rows[steps], tree.feature[above]), values[below] - values[above])
        shares[:, -1] += values[0]
    return shares / len(trees.estimators_)


def gather(
    contributions: NDArray[np.float64], sources: dict[str, str], movie: RawMovie, pasts: dict[str, list[Past | None]]
) -> list[Reason]:
    """Gather one row of contributions by raw field, the weightiest first; `pasts` are those of each role's entities."""
    points: dict[str, float] = {}
    for (name, field), share in zip(sources.items(), contributions.tolist(), strict=True):
        field = EXPECTED if name == EXPECTED else field
        points[field] = points.get(field, 0.0) + share
    reasons = [Reason(field, share, _words(field, movie, pasts.get(field, []))) for field, share in points.items()]
    return sorted(reasons, key=lambda reason: -abs(reason.points))


def _words(field: str, movie: RawMovie, pasts: list[Past | None]) -> str:
    """Say in words what was known of a field."""
    if field == EXPECTED:
        return "what movies of its kind usually reach, beyond what its facts say one by one"
    people = entities(movie, field)
    if not people and not text(movie.get(field)) and movie.get(field) in (None, "", []):
        return f"{field} unknown"
    if not pasts:
        value = ", ".join(entity_name(e) for e in people[:MOST_NAMES]) if people else str(movie.get(field))
        return f"{field} {value[:80]}"
    said = []
    for entity, past in list(zip(people, pasts, strict=False))[:MOST_NAMES]:
        known = f"mean of {past.movies} earlier movies {past.mean_rating:.1f}" if past else "no earlier movie known"
        said.append(f"{entity_name(entity)}: {known}")
    more = f" and {len(people) - MOST_NAMES} more" if len(people) > MOST_NAMES else ""
    return f"{field} {'; '.join(said)}{more}"


class Neighbours(BaseEstimator):
    """The known movies by their standardised features, to find those most like a new one."""

    SEPARATOR = "\x00"

    def fit(self, Z: NDArray[np.float64], movies: pd.DataFrame) -> Neighbours:
        """Take standardised features (n, f) and the n movies that they are of."""
        self.vectors_ = _unit(Z)
        self.titles_ = self.SEPARATOR.join(movies["title"].str.replace(self.SEPARATOR, " "))
        self.years_ = movies["release_date"].dt.year.to_numpy(dtype=np.int64)
        self.ratings_ = movies["vote_average"].to_numpy(dtype=float)
        return self

    def find(self, z: NDArray[np.float64], movie: RawMovie, count: int = NEIGHBOURS) -> list[Neighbour]:
        """Return the known movies most like one row of standardised features, but for the movie itself."""
        likeness = self.vectors_ @ _unit(z.reshape(1, -1))[0]
        titles = self.titles_.split(self.SEPARATOR)
        found = []
        near = np.argpartition(-likeness, min(count + 5, len(likeness)) - 1)[: count + 5]
        for row in near[np.argsort(-likeness[near])]:
            if fold(titles[row]) != fold(text(movie.get("title"))):
                rating, year = float(self.ratings_[row]), int(self.years_[row])
                found.append(Neighbour(titles[row], year, rating, float(max(likeness[row], 0.0))))
        return found[:count]


def _unit(Z: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-9)
    unit: NDArray[np.float32] = (Z / lengths).astype(np.float32)
    return unit
