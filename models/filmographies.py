"""What people, companies and collections had done: packed as a registered model stores it, unpacked to be asked.

Packed are two plain dictionaries: `events`, by role the keys of those who took part in which dated score, and `names`,
by kind the key that each name means. A registered model holds them all, so keys and names are joined into one text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.facts import RawMovie, entities, entity_id, entity_name
from models.history import History, Past
from models.roles import ALL_ROLES, COLLECTION, ROLES, key, kind
from models.vocabulary import fold

LEARNED_CAST = 10  # billed actors of a movie that its rating counts for
SEPARATOR = "\x00"  # stands in no name
Packed = dict[str, dict[str, Any]]


def pack(
    X: pd.DataFrame,
    rows: NDArray[np.int64],
    days: NDArray[np.int64],
    scores: NDArray[np.float64],
    weights: NDArray[np.float64],
    ratings: NDArray[np.float64],
) -> tuple[Packed, Packed]:
    """Return the events and the names of some rows of a frame; the columns beside it have a value for each movie."""
    events: Packed = {}
    for role, (field, _) in ALL_ROLES.items():
        keys, at = [], []
        for row, entity in _members(X, field, rows):
            keys.append(key(entity))
            at.append(row)
        chosen = np.array(at, dtype=np.int64)
        events[role] = {
            "keys": SEPARATOR.join(keys),
            "days": days[chosen],
            "scores": scores[chosen],
            "weights": weights[chosen],
            "ratings": ratings[chosen],
        }
    return events, pack_names(X, rows)


def pack_names(X: pd.DataFrame, rows: NDArray[np.int64]) -> Packed:
    """Return what the names in some rows of a frame mean: the one who made most movies under each."""
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for field, _ in ALL_ROLES.values():
        known = counts.setdefault(kind(field), Counter())
        known.update((fold(entity_name(entity)), key(entity)) for _, entity in _members(X, field, rows))
    return {of: _packed(pairs) for of, pairs in counts.items()}


def events_before(events: Packed, day: int) -> Packed:
    """Return the events before a day."""
    earlier: Packed = {}
    for role, columns in events.items():
        keep = columns["days"] < day
        keys = np.array(_split(columns["keys"]), dtype=object)[keep]
        arrays = {name: columns[name][keep] for name in ("days", "scores", "weights", "ratings")}
        earlier[role] = {"keys": SEPARATOR.join(keys)} | arrays
    return earlier


class Filmographies:
    """The look-up tables of a model: who a name means, and what they had done before any day."""

    def __init__(self, events: Packed, names: Packed) -> None:
        """Unpack what a model stores; equal texts are one object, which halves what is kept."""
        one: dict[str, str] = {}

        def unpacked(packed: str) -> list[str]:
            return [one.setdefault(text, text) for text in _split(packed)]

        self._names = {
            of: dict(zip(unpacked(packed["names"]), unpacked(packed["keys"]), strict=True))
            for of, packed in names.items()
        }
        self._histories = {
            role: History(
                unpacked(columns["keys"]), *(columns[name] for name in ("days", "scores", "weights", "ratings"))
            )
            for role, columns in events.items()
        }

    def pasts(self, movie: RawMovie, role: str, until: int) -> list[Past | None]:
        """Return what each of those in a role had done before a day, None for a debut."""
        field, most = ALL_ROLES[role]
        names, history = self._names[kind(field)], self._histories[role]
        return [
            history.before(known, until) if (known := entity_id(e) or names.get(fold(entity_name(e)))) else None
            for e in entities(movie, field)[:most]
        ]

    def unseen(self, movie: RawMovie) -> list[str]:
        """Name the people, companies and collections of a movie that no known movie has, in any role.

        Who comes with an id is looked up by it alone, as the features do: a name may be another's, too.
        """
        unseen = []
        for field in (*(field for field, _ in ROLES.values()), COLLECTION):
            names = self._names[kind(field)]
            for entity in entities(movie, field):
                known = entity_id(entity)
                if known and any(known in keys for keys in self._keys(field)):
                    continue
                name = entity_name(entity)
                if fold(name) not in names:
                    unseen.append(f"{field}: {name}")
                elif known:
                    unseen.append(
                        f"{field}: {name} with the id {known}; without it, the one known by this name is meant"
                    )
        return unseen

    def _keys(self, field: str) -> Iterator[Any]:
        """Yield the keys of each role of a field's kind, its own role's first."""
        roles = [role for role, (its, _) in ALL_ROLES.items() if kind(its) == kind(field)]
        for role in sorted(roles, key=lambda role: ALL_ROLES[role][0] != field):
            yield self._histories[role].keys()


def _members(X: pd.DataFrame, field: str, rows: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """Yield row and entity of those whom a movie's rating counts for."""
    if field in X:
        column = X[field].tolist()
        for row in np.asarray(rows).tolist():
            for entity in entities({field: column[row]}, field)[:LEARNED_CAST]:
                yield row, entity


def _packed(counts: Counter[tuple[str, str]]) -> dict[str, str]:
    """Map each name to the key that bears it most often, as two strings of equal length."""
    keys = {name: of for (name, of), _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))}
    return {"names": SEPARATOR.join(keys), "keys": SEPARATOR.join(keys.values())}


def _split(packed: str) -> list[str]:
    return packed.split(SEPARATOR) if packed else []
