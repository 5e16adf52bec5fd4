"""Movies as people ask about them: to learn from beside the finished records, and to be judged by.

A record was completed after the premiere: a field that is empty there says that there is nothing, and that goes with
obscure movies. A question says only what its asker knows or cares to type: a field that is missing there says nothing.
So a question is a raw movie with what is told and no key for anything else. Each known movie is learned from as the
record that it is and as questions that somebody could have asked before its release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.facts import RawMovie, text
from models.movie import INPUTS, is_told

RECORD = "whole record"
SYNOPSIS = ("title", "overview")
IN_SHORT = ("title", "genres", "original_language")
PITCH = (*SYNOPSIS, "genres", "release_date", "original_language", "runtime", "directors", "cast")
FORM = (*PITCH, "budget", "production_companies", "writers")  # what the page asks for
# What a careful person types: all but what only finished records list.
LISTED = ("spoken_languages", "producers", "cinematographers", "composers", "editors")
TYPED = tuple(name for name in INPUTS if name not in LISTED)
# The ways of asking that a model is judged by, beside the whole record.
WAYS: dict[str, tuple[str, ...]] = {
    "typed": TYPED,
    "pitch": PITCH,
    "title, genres, language": IN_SHORT,
    "title and synopsis": SYNOPSIS,
}
# What is learned from, each with its share; the rest tells each of its facts by chance.
DRAWN: tuple[tuple[float, tuple[str, ...]], ...] = (
    *((0.2, TYPED), (0.1, FORM), (0.2, PITCH), (0.15, IN_SHORT), (0.1, SYNOPSIS)),
    *((0.03, ("overview",)), (0.02, ("title",))),
)


def mask_fields(movie: RawMovie, told: Iterable[str] = INPUTS) -> dict[str, object]:
    """Return a movie as a question that tells some of its facts, as far as it has them."""
    return {name: movie[name] for name in told if name in movie and is_told(movie[name])}


def views(records: Sequence[RawMovie], ways: Mapping[str, Iterable[str]] = WAYS) -> dict[str, Sequence[RawMovie]]:
    """Return whole records, and the same movies by way of asking."""
    return {RECORD: records} | {way: [mask_fields(record, told) for record in records] for way, told in ways.items()}


def draw_question(movie: RawMovie, number: int) -> tuple[dict[str, object], bool]:
    """Return a movie as one of many questions that could be asked, and whether that one tells the release date.

    The date stays in it all the same: what came before a movie must be known to learn from it. Which question it is
    depends on the movie's title and date and the number alone, so that other movies or another order change nothing.
    """
    name = f"{number} {text(movie.get('title'))} {movie['release_date']}"
    chances = np.frombuffer(hashlib.blake2b(name.encode("utf-8", "replace")).digest(), dtype=np.uint16) / 2**16
    which, share, *each = chances.tolist()
    told: Iterable[str] = [field for field, chance in zip(INPUTS, each, strict=False) if chance < share]
    for part, fields in DRAWN:
        if 0 <= which < part:
            told = fields
        which -= part
    return mask_fields(movie, told) | {"release_date": movie["release_date"]}, "release_date" in told
