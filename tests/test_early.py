from __future__ import annotations

from copy import deepcopy

import pandas as pd

from models.early import ANNOUNCED, early
from models.facts import iterate
from models.movie import INPUTS


def test_every_fact_but_the_date_may_be_left_out() -> None:
    assert {fact for facts in ANNOUNCED for fact in facts} == set(INPUTS) - {"release_date"}


def test_a_copy_lacks_some_facts_invents_none_and_leaves_the_movie_as_it_was(rated: pd.DataFrame) -> None:
    movies = list(iterate(rated.head(500)))
    before = deepcopy(movies)
    copies = early(movies, seed=1)
    assert movies == before
    assert early(movies, seed=1) == copies
    assert early(movies, seed=2) != copies
    kept = [[bool(copy[name]) for name in INPUTS if movie[name]] for copy, movie in zip(copies, movies, strict=True)]
    shares = [sum(known) / len(known) for known in kept]
    assert min(shares) < 0.2
    assert max(shares) > 0.8
    for copy, movie in zip(copies, movies, strict=True):
        assert copy.keys() == movie.keys()
        assert all(copy[name] in (movie[name], None, []) for name in movie)
        assert copy["release_date"] == movie["release_date"]
        assert copy["vote_average"] == movie["vote_average"]
