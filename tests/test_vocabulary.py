from __future__ import annotations

import json
import unicodedata
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import RECORDED
from hypothesis import given
from hypothesis import strategies as st

from models import vocabulary
from models.facts import COUNTRIES, LANGUAGES, misread
from models.features import MovieFeatures
from models.movie import Movie
from models.vocabulary import COUNTRY_WORDS, GENRE_WORDS, GENRES, LANGUAGE_WORDS, fold
from serving.rater import Rater

NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
SPACES = st.text(st.sampled_from(" \t\u00a0\u2009\u3000\u200b\ufeff"), min_size=1, max_size=3)


@given(NAMES)
def test_a_folded_name_stays_as_it_is(name: str) -> None:
    assert fold(fold(name)) == fold(name)


@given(NAMES)
def test_names_are_one_in_every_unicode_form(name: str) -> None:
    assert len({fold(unicodedata.normalize(form, name)) for form in ("NFC", "NFD", "NFKC", "NFKD")}) == 1


@given(NAMES)
def test_names_are_one_in_upper_and_lower_case(name: str) -> None:
    upper, lower = name.upper(), name.lower()
    if "\u0345" not in unicodedata.normalize("NFD", name):  # an iota below that is a letter of its own in upper case
        assert fold(upper) == fold(lower) == fold(name)


@given(st.lists(st.text(st.characters(categories=("L", "N")), min_size=1), min_size=1), st.data())
def test_names_are_one_however_they_are_spaced(words: list[str], data: st.DataObject) -> None:
    spaced = data.draw(SPACES) + "".join(word + data.draw(SPACES) for word in words)
    assert fold(spaced) == fold(" ".join(words))


def test_what_is_not_seen_of_a_name_does_not_count_and_an_accent_does() -> None:
    assert fold("Greta\u200d Ger\u00adwig\u200e") == "greta gerwig"
    assert fold("YILMAZ İnce") == fold("Yılmaz İNCE") == fold("yılmaz ince")
    assert fold("Chloe\u0301\u00a0 ZHAO") == fold("Chloé Zhao") != fold("Chloe Zhao")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["documentary", "DRAMA", " Tv  movie "], ["Documentary", "Drama", "TV Movie"]),
        (["sci-fi", "drama"], ["Science Fiction", "Drama"]),
        (["SF", "scifi", "Sci Fi", "science-fiction"], ["Science Fiction"]),
        (["Musical", "suspense", "Children's"], ["Music", "Thriller", "Family"]),
        (["Drama/Romance"], ["Drama", "Romance"]),
        (["Action|Drama"], ["Action", "Drama"]),
        (["Romance, action; Drama"], ["Romance", "Action", "Drama"]),
        (["Action & Adventure", "war and western"], ["Action", "Adventure", "War", "Western"]),
        (["rom-com"], ["Romance", "Comedy"]),
        (["Romantic comedy", "horror movies"], ["Romance", "Comedy", "Horror"]),
        ([{"id": 28, "name": "Action"}, {"id": 18}, 35, "53"], ["Action", "Drama", "Comedy", "Thriller"]),
        ([{"id": 28, "name": "Akció"}, {"id": 10765, "name": "?"}], ["Action", "Science Fiction", "Fantasy"]),
        (["스릴러"], ["Thriller"]),
        (["Drama", "drama", "Dramedy", "", "???"], ["Drama"]),
    ],
)
def test_genres_are_understood_in_order_and_once(written: list[Any], meant: list[str]) -> None:
    assert GENRE_WORDS.read(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *[(word, "en") for word in ("en", "EN", "eng", " en ", "en-US", "en_GB.UTF-8", "English", "english (US)")],
        *[(word, "zh") for word in ("zh", "zho", "chi", "cmn", "zh-Hans-CN", "zh_TW", "Mandarin", "普通话")],
        *[(word, "cn") for word in ("cn", "yue", "Cantonese", "广州话 / 廣州話")],
        *[(word, "ja") for word in ("jpn", "Japanese", "日本語", "JP", "Japan", "jp-JP")],
        *[(word, "ko") for word in ("kor", "korean", "한국어/조선말", "Korea")],
        *[(word, "fr") for word in ("fra", "fre", "fr-CA", "Français", "francais")],
        *[("xx", "xx"), ("zxx", "xx"), ("sh", "sh"), ("mo", "mo"), ("kr", "kr")],
        *[("uk", "uk"), ("fil", "tl"), ("iw", "he")],
    ],
)  # fmt: skip
def test_languages_are_understood_and_a_code_of_tmdb_means_what_tmdb_means(written: str, meant: str) -> None:
    assert LANGUAGE_WORDS.read([written]) == [meant]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *[(word, ["US"]) for word in ("US", "usa", "U.S.", "U.S.A.", "United  States", "united states of america")],
        *[(word, ["GB"]) for word in ("GB", "UK", "u.k.", "GBR", "Great Britain", "England")],
        *[(word, ["KR"]) for word in ("kor", "Korea", "South Korea", "Republic of Korea", "Korea, South", "한국")],
        *[({"id": "US"}, ["US"]), ({"id": None, "name": "japan"}, ["JP"]), ({"iso_3166_1": "FR", "name": "?"}, ["FR"])],
        *[("Türkiye", ["TR"]), ("turkey", ["TR"]), ("Cote d'Ivoire", ["CI"]), ("Bosnia & Herzegovina", ["BA"])],
        *[("SU", ["SU"]), ("XC", ["XC"]), ("East Germany", ["XG"]), ("USA, UK", ["US", "GB"]), ("Atlantis", [])],
    ],
)  # fmt: skip
def test_countries_are_understood(written: Any, meant: list[str]) -> None:
    assert COUNTRY_WORDS.read([written]) == meant


def test_the_words_of_the_features_are_in_the_vocabularies() -> None:
    assert LANGUAGE_WORDS.read(LANGUAGES) == list(LANGUAGES)
    assert COUNTRY_WORDS.read(COUNTRIES) == list(COUNTRIES)
    assert GENRE_WORDS.read(GENRES) == list(GENRES) == sorted(GENRES)


@pytest.mark.parametrize("table", [vocabulary._LANGUAGES, vocabulary._COUNTRIES])
def test_no_spelling_means_two_things(table: str) -> None:
    entries = [entry.split(": ") for entry in " ".join(table.split()).split("; ")]
    spellings = Counter(
        spelling
        for codes, names in entries
        for spelling in {vocabulary._plain(word) for word in codes.split() + names.split("/")}
    )
    assert [spelling for spelling, times in spellings.items() if times > 1 or not spelling] == []


@pytest.mark.parametrize(
    ("field", "written", "remark"),
    [
        ("genres", ["Dramedy"], "genres: 'Dramedy' is not known and is not used; did you mean Drama?"),
        ("genres", ["Action|Blorp"], "genres: 'Blorp' is not known and is not used; write TMDB's name, such as Drama"),
        ("genres", ["biopic, Drama"], "genres: Biography is none of TMDB's genres: it only counts as one more"),
        ("original_language", "zz", "original_language: 'zz' is not known and is not used; write its code of ISO"),
        ("original_language", "jp", "original_language: 'jp' is a country and is read as its language, ja (Japanese)"),
        ("original_language", "USA", "original_language: 'usa' is a country and is read as its language, en (English)"),
        ("original_language", "kr", "original_language: 'kr' is read as Kanuri; write ko (Korean) if that is meant"),
        ("spoken_languages", ["en", "qq"], "spoken_languages: 'qq' is not known"),
        ("production_countries", ["Frnace"], "production_countries: 'Frnace' is not known and is not used; did you"),
    ],
)  # fmt: skip
def test_what_is_not_understood_or_odd_is_said(field: str, written: Any, remark: str) -> None:
    (said,) = misread(Movie.model_validate({"title": "x", field: written}).told())
    assert said.startswith(remark)


def test_what_is_understood_is_not_remarked_on_and_many_remarks_are_counted() -> None:
    movie = {"genres": ["sci-fi"], "original_language": "cn", "spoken_languages": ["eng"]}
    assert misread(movie | {"production_countries": [{"name": "UK"}]}) == []
    said = misread({"genres": [f"Blorp {n}" for n in range(25)]})
    assert len(said) == vocabulary.MOST_REMARKS + 1
    assert said[-1] == "genres: and 15 more"


@pytest.mark.parametrize(
    ("field", "written", "kept"),
    [
        ("genres", [{"id": 28, "name": "Akció"}, 18, {"name": "Blorp"}], ["Action", "Drama", "Blorp"]),
        ("original_language", "EN", "en"),
        ("original_language", "en-US", "en-US"),
        ("spoken_languages", [{"iso_639_1": "ja", "name": "日本語"}, "Korean"], ["ja", "Korean"]),
        ("production_countries", ["usa", {"id": "FR"}], [{"name": "usa"}, {"name": "FR", "id": "FR"}]),
        ("production_countries", [{"iso_3166_1": "FR", "name": "France"}], [{"name": "France", "id": "FR"}]),
    ],
)  # fmt: skip
def test_a_request_may_hold_the_objects_of_tmdb(field: str, written: Any, kept: Any) -> None:
    assert Movie.model_validate({"title": "x", field: written}).told()[field] == kept


ANN, BEN = {"id": "1", "name": "Chloé Zhao"}, {"id": "2", "name": "Ben Actor"}


@pytest.fixture(scope="module")
def features() -> MovieFeatures:
    movies = pd.DataFrame(
        {
            "title": ["a", "b"],
            "release_date": pd.to_datetime(["2000-01-01", "2002-01-01"]),
            "directors": [[ANN], [ANN]],
            "cast": [[BEN], [BEN]],
            "production_companies": [[{"id": "1", "name": "Été Films"}]] * 2,
            "vote_average": [6.0, 8.0],
            "vote_count": [50.0, 150.0],
        }
    )
    return MovieFeatures().fit(movies)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"directors": ["Chloé Zhao"]}, {"directors": ["chloe\u0301  zhao"]}),
        ({"directors": ["Chloé Zhao"]}, {"directors": ["\u200bChloé\u00a0Zhao"]}),
        ({"directors": ["Chloé Zhao"]}, {"directors": [{"id": 1, "name": "Whoever"}]}),
        ({"production_companies": ["Été Films"]}, {"production_companies": ["E\u0301TE\u0301 films"]}),
        ({"genres": ["Documentary"]}, {"genres": ["documentary"]}),
        ({"genres": ["Drama", "Romance"]}, {"genres": ["Drama/Romance", "drama"]}),
        ({"genres": ["Drama"]}, {"genres": ["Drama", "Blorp"]}),
        ({"original_language": "en"}, {"original_language": "eng"}),
        ({}, {"original_language": "zz"}),
        ({"spoken_languages": ["en", "fr"]}, {"spoken_languages": ["English", "fra", "EN"]}),
        ({"production_countries": ["US"]}, {"production_countries": ["USA", {"id": "us"}, "Atlantis"]}),
    ],
)
def test_what_means_the_same_gives_the_same_numbers(
    features: MovieFeatures, one: dict[str, Any], other: dict[str, Any]
) -> None:
    rows = [features.row(Movie.model_validate({"title": "x"} | movie).told()) for movie in (one, other)]
    np.testing.assert_array_equal(*rows)
    np.testing.assert_array_equal(rows[1], features.row({"title": "x"} | other))  # as raw as it comes


def test_who_is_never_seen_is_told_by_what_the_features_use(features: MovieFeatures) -> None:
    """An id goes before the name, and who acted before is known as a director, too."""

    def unseen(*directors: Any) -> list[str]:
        return features.unseen(Movie.model_validate({"title": "x", "directors": directors}).told())

    assert unseen("chloe\u0301 zhao", {"id": 1, "name": "Any Name"}, "ben actor", {"id": 2, "name": "B"}) == []
    assert unseen("Nobody", {"id": 9, "name": "No One"}) == ["directors: Nobody", "directors: No One"]
    (namesake,) = unseen({"id": 99999999, "name": "Chloé Zhao"})
    assert namesake.startswith("directors: Chloé Zhao with the id 99999999; without it")


def test_the_service_warns_of_what_it_does_not_understand(features: MovieFeatures) -> None:
    rater = object.__new__(Rater)
    rater.model = SimpleNamespace(features_=features)  # type: ignore[assignment]
    warned = rater.warn(Movie.model_validate({"title": "x", "genres": ["Blorp"], "directors": ["Nobody"]}).told())
    assert "genres: 'Blorp' is not known and is not used; write TMDB's name, such as Drama" in warned
    assert "never seen: directors: Nobody" in warned


@pytest.mark.recorded
def test_the_cases_get_the_same_numbers_or_a_warning(features: MovieFeatures) -> None:
    def case(name: str) -> dict[str, Any]:
        return dict(json.loads((RECORDED / "cases" / f"service-{name}.json").read_text()))

    def read(body: dict[str, Any]) -> dict[str, Any]:
        return Movie.model_validate(body["movie"]).told()

    for name in ("01-genre-case", "05-name-nfd"):
        pair = case(name)
        np.testing.assert_array_equal(features.row(read(pair["a"])), features.row(read(pair["b"])))
    first, *others = (read(body) for body in case("03-language-unknown")["bodies"])
    assert LANGUAGE_WORDS.read([first["original_language"]]) == ["en"]
    assert not misread(first)
    assert all(misread(movie) for movie in others)
    assert "directors: Greta Gerwig" in features.unseen(read(case("07-id-unknown-no-warning")["body"]))
