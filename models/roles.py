"""Who made a movie, in which role, and what their earlier movies say in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.facts import NAN, entity_id, entity_name
from models.history import Past
from models.vocabulary import fold

# role -> (raw field, how many entries are looked up; billing order makes the first the most telling)
ROLES: dict[str, tuple[str, int]] = {
    "director": ("directors", 8),
    "writer": ("writers", 8),
    "cast": ("cast", 8),
    "producer": ("producers", 8),
    "cinematographer": ("cinematographers", 3),
    "composer": ("composers", 3),
    "company": ("production_companies", 8),
}
COLLECTION = "belongs_to_collection"
ALL_ROLES = {**ROLES, "collection": (COLLECTION, 1)}
ROLE_FEATURES = ("mean", "pooled", "top", "count", "debuts", "best", "last", "years_since")
COLLECTION_FEATURES = ("count", "mean", "best", "last", "years_since")
NO_COLLECTION = [0.0, NAN, NAN, NAN, NAN]
SHRINKAGE, COLLECTION_SHRINKAGE = 2.0, 0.5  # movies
BILLING_DISCOUNTS = {"cast": 0.3}  # how much less each next place on the bill counts


def kind(field: str) -> str:
    """People are one kind, whatever they do; companies and collections are others."""
    return field if field in ("production_companies", COLLECTION) else "people"


def key(entity: Any) -> str:
    """Return what an entity is known by: its id, or else its name."""
    return entity_id(entity) or fold(entity_name(entity))


def role_row(pasts: Sequence[Past | None], day: int, discount: float) -> list[float]:
    """Sum up what those in one role had done, in their order: `ROLE_FEATURES`. A debut counts as 0, as expected."""
    if not pasts:
        return [NAN] * len(ROLE_FEATURES)
    weights = [1 / (1 + discount * place) for place in range(len(pasts))]
    known = [(weight, past) for weight, past in zip(weights, pasts, strict=True) if past]
    debuts = 1 - len(known) / len(pasts)
    if not known:
        return [0.0, 0.0, NAN, 0.0, debuts, NAN, NAN, NAN]
    means = [past.mean(SHRINKAGE) for _, past in known]
    mass = sum(weight * past.weight for weight, past in known)
    first = known[0][1]
    return [
        sum(weight * mean for (weight, _), mean in zip(known, means, strict=True)) / sum(weights),
        sum(weight * past.total for weight, past in known) / (mass + SHRINKAGE),
        max(means),
        float(sum(past.movies for _, past in known)),
        debuts,
        max(past.best for _, past in known),
        first.last,
        (day - first.last_day) / 365.25,
    ]


def collection_row(past: Past, day: int) -> list[float]:
    """Sum up the earlier members of a collection: `COLLECTION_FEATURES`."""
    years = (day - past.last_day) / 365.25
    return [float(past.movies), past.mean(COLLECTION_SHRINKAGE), past.best, past.last, years]
