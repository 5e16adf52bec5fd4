"""Why a rating is what it is: additive contributions of each raw field, in rating points, and the movies most like it.

Trees explain themselves: XGBoost and LightGBM by their own TreeSHAP, a Random Forest by what each split on a row's path
changes. The linear member contributes its coefficients against the average movie. Shares add up to the prediction.

A reason is data, in no language: a page words it in its reader's own. Its `words` are the one English rendering.
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
from models.movie import ReasonKind
from models.vocabulary import fold

EXPECTED = "expected"
MOST_NAMES = 3
MOST_LETTERS = 80  # of a value
NEIGHBOURS = 5
KINDS: dict[str, ReasonKind] = {"production_companies": "company", "belongs_to_collection": "collection"}


@dataclass(frozen=True)
class Maker:
    """One of those who made a movie: how many earlier rated movies of theirs are known, and their mean rating."""

    name: str
    movies: int
    mean: float | None


@dataclass(frozen=True)
class Reason:
    """What one raw field contributes, in rating points, and what was known of it, by its kind.

    Of a person, a company or a collection: the first maker's name, movies and mean, up to two `others`, and how many
    `more` there are. Of a value: its text as `name`. Of what is unknown, and of what movies of its kind reach: nothing.
    """

    field: str
    kind: ReasonKind
    points: float
    name: str | None = None
    movies: int | None = None
    mean: float | None = None
    others: tuple[Maker, ...] = ()
    more: int = 0

    @property
    def words(self) -> str:
        """The English rendering."""
        if self.kind == "kind":
            return "what movies of its kind usually reach, beyond what its facts say one by one"
        if self.kind == "unknown":
            return f"{self.field} unknown"
        if self.kind == "value":
            return f"{self.field} {self.name}"
        makers = [Maker(self.name or "", self.movies or 0, self.mean), *self.others]
        said = "; ".join(f"{maker.name}: {_career(maker)}" for maker in makers)
        return f"{self.field} {said}{f' and {self.more} more' if self.more else ''}"


def _career(maker: Maker) -> str:
    if maker.mean is None:
        return "no earlier movie known"
    return f"mean of {maker.movies} earlier movies {maker.mean:.1f}"


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
    reasons = [_reason(field, share, movie, pasts.get(field, [])) for field, share in points.items()]
    return sorted(reasons, key=lambda reason: -abs(reason.points))


def _reason(field: str, points: float, movie: RawMovie, pasts: list[Past | None]) -> Reason:
    """Say what was known of a field."""
    if field == EXPECTED:
        return Reason(field, "kind", points)
    people = entities(movie, field)
    if not people and not text(movie.get(field)) and movie.get(field) in (None, "", []):
        return Reason(field, "unknown", points)
    more = max(len(people) - MOST_NAMES, 0)
    if not pasts:
        value = ", ".join(entity_name(e) for e in people[:MOST_NAMES]) if people else _plain(movie.get(field))
        return Reason(field, "value", points, value[:MOST_LETTERS], more=more)
    first, *others = [
        Maker(entity_name(entity), past.movies if past else 0, past.mean_rating if past else None)
        for entity, past in list(zip(people, pasts, strict=False))[:MOST_NAMES]
    ]
    kind = KINDS.get(field, "person")
    return Reason(field, kind, points, first.name, first.movies, first.mean, tuple(others), more)


def _plain(value: Any) -> str:
    """Write a value as people do: a whole number without a fraction, whatever type it is read into."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


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
