"""Movies as they are known early, to learn from beside the finished ones.

The records that a model learns from were completed after the premiere: there, no runtime and no cast mean an obscure
movie. A movie that is yet to come lacks them because nobody has said. So each known movie is learned from twice: as it
is, and with some of its facts left out, as an early record has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from models.facts import RawMovie

# Facts that are announced together. The release date stays: what came before a movie must be known to learn from it.
ANNOUNCED = (
    ("title", "original_title"),
    ("overview",),
    ("tagline",),
    ("genres",),
    ("original_language", "spoken_languages", "production_countries"),
    ("runtime",),
    ("budget",),
    ("production_companies",),
    ("belongs_to_collection",),
    ("directors",),
    ("writers",),
    ("cast",),
    ("producers", "cinematographers", "composers", "editors"),
)
NEXT_TO_NOTHING = 0.15  # share of copies of which a title or a synopsis is all that is known


def early(movies: Iterable[RawMovie], seed: int = 0) -> list[dict[str, Any]]:
    """Return a copy of each raw movie without some of its facts: of some few, of others most."""
    rng = np.random.default_rng(seed)
    copies = []
    for movie in movies:
        if rng.uniform() < NEXT_TO_NOTHING:
            kept = ANNOUNCED[int(rng.integers(2))]
            lost = [fact for facts in ANNOUNCED if facts != kept for fact in facts]
        else:
            share = rng.uniform()
            lost = [fact for facts in ANNOUNCED if rng.uniform() < share for fact in facts]
        copies.append({**movie} | {fact: [] if isinstance(movie.get(fact), list) else None for fact in lost})
    return copies
