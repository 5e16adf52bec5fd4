"""What a movie is: its fields, their ranges, and when each of them is known.

The names are TMDB's own. `FIELDS` says of every stored field whether the world knows it before the release; a feature
may only come from one of `INPUTS`. `Movie` is the typed form in which a person or a program describes one movie to the
service; training reads the same fields from the catalogue.

TMDB codes a missing value as 0, "" or []: a budget of 0 is unknown, not free. Here missing is None (or an empty list).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    with_config,
)
from typing_extensions import TypedDict

from models.vocabulary import GENRE_WORDS, LANGUAGE_WORDS

FIRST_DATE = date(1874, 1, 1)  # the oldest film on record is from 1874
LAST_DATE = date(2100, 12, 31)
MAX_RUNTIME = 1_000.0  # minutes; the longest film that cinemas have shown is a little under 15 hours
MAX_BUDGET = 2_000_000_000.0  # US dollars; four times the dearest film so far
MAX_VOTES = 10_000_000  # of one movie; some 250 times the most so far
MAX_GENRES, MAX_LANGUAGES, MAX_NAMED = 30, 50, 500  # of one movie; people and companies in each of their lists
MIN_RATING, MAX_RATING = 0.0, 10.0
LEVEL, MIN_LEVEL, MAX_LEVEL = (
    0.9,
    0.5,
    0.99,
)  # share of ratings that an interval should hold: the usual one, and the ends
TOLERANCE = 1e-5  # rating points that two answers of one model to one movie may differ by
# What a reason tells of: who made a movie, a value, nothing told or none, or what movies of its kind usually reach. It
# stands here for the service's schema, which is read where no learner is.
ReasonKind = Literal["person", "company", "collection", "value", "unknown", "kind"]
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")
_CODE = re.compile(r"[A-Za-z]{2,3}")
_LANGUAGE, _LANGUAGE_KEYS = {"iso_639_1"}, {"iso_639_1", "english_name", "name"}  # of TMDB's objects


@dataclass(frozen=True)
class RawField:
    """One stored field: `known` says when the world knows it, against the release; "record" is book-keeping."""

    known: Literal["before", "after", "record"]
    what: str


FIELDS: dict[str, RawField] = {
    "id": RawField("record", "TMDB's number of the movie"),
    "imdb_id": RawField("record", "IMDb's id, where TMDB has it"),
    "title": RawField("before", "title in English"),
    "original_title": RawField("before", "title in the original language"),
    "overview": RawField("before", "synopsis in English"),
    "tagline": RawField("before", "tagline in English"),
    "genres": RawField("before", "names of the genres"),
    "release_date": RawField("before", "first release anywhere"),
    "original_language": RawField("before", "ISO 639-1 code"),
    "spoken_languages": RawField("before", "ISO 639-1 codes"),
    "runtime": RawField("before", "minutes"),
    "budget": RawField("before", "US dollars"),
    "production_companies": RawField("before", "companies"),
    "production_countries": RawField("before", "countries, id is ISO 3166-1"),
    # Known before the release only for a later member: a first movie's collection may exist because of its sequel.
    "belongs_to_collection": RawField("before", "collection; used only when an earlier member exists"),
    "cast": RawField("before", "actors in billing order"),
    "directors": RawField("before", "directors"),
    "writers": RawField("before", "writers"),
    "producers": RawField("before", "producers"),
    "cinematographers": RawField("before", "directors of photography"),
    "composers": RawField("before", "composers of the music"),
    "editors": RawField("before", "editors"),
    "vote_average": RawField("after", "mean rating of TMDB's users, 0 to 10: what is predicted"),
    "vote_count": RawField("after", "number of votes behind vote_average"),
    "popularity": RawField("after", "TMDB's measure of attention"),
    "revenue": RawField("after", "box office, US dollars"),
    "status": RawField("after", "Released, Post Production, …"),
    "poster_path": RawField("record", "path of the poster below TMDB's image address; shown, never learned from"),
    "fetched_at": RawField("record", "when this record was read"),
}
INPUTS = tuple(name for name, field in FIELDS.items() if field.known == "before")


def _named(value: Any) -> Any:
    """Accept a bare name where an entity is expected."""
    return {"name": value} if isinstance(value, str) else value


def _country(value: Any) -> Any:
    """Accept a country as TMDB writes it, or by its code alone."""
    if isinstance(value, dict) and "iso_3166_1" in value and "id" not in value:
        value = {"id" if key == "iso_3166_1" else key: each for key, each in value.items()}
    if isinstance(value, dict) and value.get("id"):
        value = {"name": value["id"]} | value
    return _named(value)


def _genre(value: Any) -> Any:
    """Accept a genre as TMDB writes it, or by its id, which counts in whatever language the name is."""
    if type(value) is int or (isinstance(value, dict) and value and value.keys() <= {"id", "name"}):
        return " & ".join(GENRE_WORDS.read([value])) or (value.get("name") if isinstance(value, dict) else value)
    return value


def _language_code(value: Any) -> Any:
    """Accept a language as TMDB writes it."""
    return value["iso_639_1"] if isinstance(value, dict) and _LANGUAGE <= value.keys() <= _LANGUAGE_KEYS else value


def _language(word: str) -> str:
    """Refuse what is neither a code, which the model may still not know, nor the name of one language."""
    if _CODE.fullmatch(word):
        return word.lower()
    if len(LANGUAGE_WORDS.read([word])) != 1:
        near = LANGUAGE_WORDS.near(word)
        meant = f": perhaps {near}" if near else ""
        raise ValueError(f"must be one language, by its ISO 639-1 code or its English name{meant}")
    return word


def _iso_date(value: Any) -> date | None:
    """Read "YYYY-MM-DD" strictly; "" is TMDB's way to say unknown."""
    if value is None or value == "":
        return None
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    try:
        if not (isinstance(value, str) and _ISO.fullmatch(value)):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError('must be a date written as "YYYY-MM-DD"') from None
    if not FIRST_DATE <= day <= LAST_DATE:
        raise ValueError(f"must lie between {FIRST_DATE} and {LAST_DATE}")
    return day


def _zero_is_missing(value: Any) -> Any:
    """TMDB codes an unknown amount as 0."""
    return None if value == 0 and not isinstance(value, bool) else value


Text = Annotated[str, StringConstraints(strict=True, max_length=10_000)]
Name = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=300)]
Day = Annotated[
    date | None,
    BeforeValidator(_iso_date),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}),
]


@with_config(ConfigDict(extra="forbid"))
class Entity(TypedDict):
    """A person, company, country or collection: by name, and by TMDB's id where the caller knows it."""

    name: Name
    id: NotRequired[
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, max_length=32),
            BeforeValidator(lambda v: str(v) if type(v) is int else v),
        ]
        | None
    ]


_NAME = {"type": "string", "minLength": 1, "maxLength": 300}
_ID = {"anyOf": [{"type": "string", "maxLength": 32}, {"type": "integer"}, {"type": "null"}]}


def _described(*forms: dict[str, Any], **rest: Any) -> WithJsonSchema:
    """Describe what may be a name, one of other forms, or an object, of which the rest is told."""
    return WithJsonSchema({"anyOf": [_NAME, *forms, {"type": "object", "additionalProperties": False} | rest]})


Named = Annotated[Entity, BeforeValidator(_named), _described(properties={"name": _NAME, "id": _ID}, required=["name"])]
Country = Annotated[
    Entity,
    BeforeValidator(_country),
    _described(properties={"id": _ID, "iso_3166_1": _ID, "name": _NAME}, minProperties=1),
]
Genre = Annotated[
    Name,
    BeforeValidator(_genre),
    _described({"type": "integer"}, properties={"id": _ID, "name": _NAME}, minProperties=1),
]
Language = Annotated[
    Name,
    BeforeValidator(_language_code),
    AfterValidator(_language),
    _described(properties={"iso_639_1": _NAME, "english_name": {}, "name": {}}, required=["iso_639_1"]),
]
Entities = Annotated[list[Named], Field(max_length=MAX_NAMED)]
Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
ZeroIsMissing = BeforeValidator(_zero_is_missing)
Code = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z]{2,3}$", to_lower=True)]


def is_told(value: Any) -> bool:
    """Say whether a value of a raw movie says anything: None, NaN, 0, "" and an empty list do not."""
    return bool(len(value)) if hasattr(value, "__len__") else value is not None and value == value and value != 0


class Movie(BaseModel):
    """One movie as it is known before its release, in TMDB's field names. Everything but the title may be left out."""

    model_config = ConfigDict(extra="forbid")

    title: Name
    original_title: Text | None = None
    overview: Text | None = Field(None, description="synopsis in English")
    tagline: Text | None = None
    genres: list[Genre] = Field(
        [],
        max_length=MAX_GENRES,
        description="TMDB's names (Drama, Science Fiction, …) or ids, the most telling first; IMDb's names and usual "
        "spellings (sci-fi, Action|Drama) are understood, in any case. What is not is warned of and left out",
    )
    release_date: Day = Field(None, description="YYYY-MM-DD")
    original_language: Language | None = Field(
        None,
        description="ISO 639-1 code, as TMDB uses them (cn is Cantonese, xx none); codes of three letters, tags such "
        "as en-US and English names are understood. An unknown code is warned of and left out",
    )
    spoken_languages: list[Language] = Field(
        [], max_length=MAX_LANGUAGES, description="languages, each as original_language"
    )
    runtime: Annotated[Annotated[Amount, Field(le=MAX_RUNTIME)] | None, ZeroIsMissing] = Field(
        None, description="minutes; 0 means unknown"
    )
    budget: Annotated[Annotated[Amount, Field(le=MAX_BUDGET)] | None, ZeroIsMissing] = Field(
        None, description="US dollars; 0 means unknown"
    )
    production_companies: Entities = []
    production_countries: list[Country] = Field(
        [],
        max_length=MAX_NAMED,
        description="ISO 3166-1 codes of two or three letters or English names, in any case. What is not understood is "
        "warned of and left out",
    )
    belongs_to_collection: Named | None = None
    cast: Entities = Field([], description="in billing order")
    directors: Entities = []
    writers: Entities = []
    producers: Entities = []
    cinematographers: Entities = []
    composers: Entities = []
    editors: Entities = []

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Movie:
        """Take what was known before the release from a record of `FIELDS`; raises pydantic's ValidationError."""
        return cls.model_validate({name: record[name] for name in INPUTS if record[name] is not None})

    def facts(self) -> dict[str, Any]:
        """The record of a finished movie, with one entry for each of `INPUTS`: what is empty here, there is none of."""
        return dict(self.__dict__)

    def told(self) -> dict[str, Any]:
        """The question that somebody asks about it, with what is told alone: of all else nothing is said."""
        return {name: value for name, value in self.__dict__.items() if is_told(value)}
