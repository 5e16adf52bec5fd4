"""What the service takes and gives, in one typed schema: the movie itself is `models.movie.Movie`, as in training."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from models.movie import LEVEL, MAX_LEVEL, MIN_LEVEL, Movie, ReasonKind

MOST_MOVIES = 1000
MOST_EXPLAINED = 500  # movies of a batch with reasons or similar ones: 0.4 to 4 ms each, in half of the service's time
Confidence = Annotated[float, Field(ge=MIN_LEVEL, le=MAX_LEVEL)]
Similar = Annotated[int, Field(strict=True, ge=0, le=20, description="how many known movies like it to name")]
Synopsis = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=10_000)]
EXAMPLE: dict[str, Any] = {
    "title": "Little Women",
    "genres": ["Drama", "Romance"],
    "release_date": "2019-12-25",
    "original_language": "en",
    "runtime": 135,
    "budget": 40_000_000,
    "directors": ["Greta Gerwig"],
    "cast": ["Saoirse Ronan", "Emma Watson"],
}


class Asked(BaseModel):
    """What every question may say beside its movie."""

    model_config = ConfigDict(extra="forbid")
    confidence: Confidence = Field(LEVEL, description="share of cases that the interval should hold")
    level: Confidence | None = Field(None, description="the older name of `confidence`", deprecated=True)
    reasons: bool = Field(False, strict=True, description="whether to say what each field adds")
    similar: Similar = 0
    record: bool = Field(
        True,
        strict=True,
        description="whether to keep the prediction, to be measured by what it comes to; a what-if is not",
    )

    @model_validator(mode="after")
    def _one_confidence(self) -> Self:
        """Take the older name where it alone is given."""
        older = self.__dict__["level"]  # to read the attribute is to be warned of it
        if older is not None:
            if "confidence" in self.model_fields_set and self.confidence != older:
                rule = f"confidence is {self.confidence:g} and level, its older name, {older:g}: leave level out"
                raise PydanticCustomError("two_confidences", rule)
            self.confidence = older
        return self


class PredictRequest(Asked):
    """One movie to rate."""

    movie: Movie = Field(examples=[EXAMPLE])


# A movie, or whatever else was sent in its place: the errors of that are told beside the other answers. The description
# names the movie alone, so that clients can be made from it.
OneOfMany = Annotated[Movie | SkipJsonSchema[Any], Field(union_mode="left_to_right")]


class BatchRequest(Asked):
    """Up to 1,000 movies, 500 with reasons or similar movies; one that is wrong does not lose the others."""

    movies: list[OneOfMany] = Field(
        min_length=1,
        max_length=MOST_MOVIES,
        description=f"each as the movie of /predict; at most {MOST_EXPLAINED} with reasons or similar movies",
        examples=[[EXAMPLE]],
    )

    @field_validator("movies", mode="before")
    @classmethod
    def _in_time(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse more than can be explained in time, before any work."""
        explained = info.data.get("reasons") or info.data.get("similar")
        if explained and isinstance(value, list) and len(value) > MOST_EXPLAINED:
            rule = (
                f"holds {len(value)} movies, at most {MOST_EXPLAINED} are rated at once with reasons or similar movies"
            )
            raise PydanticCustomError("too_many_explained", rule)
        return value


class TextRequest(Asked):
    """Only a synopsis, as an early pitch has it."""

    text: Synopsis = Field(examples=["Four sisters come of age in the shadow of a war."])


class TmdbRequest(Asked):
    """A movie by TMDB's id."""

    id: Annotated[int, Field(strict=True, gt=0, lt=2**31, examples=[550])]


class FeedbackRequest(BaseModel):
    """What an earlier prediction came to."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{32}$")] = Field(
        description="of the prediction", examples=["0f8fad5bd9cb469fa16570867728950e"]
    )
    rating: Annotated[float, Field(strict=True, ge=0, le=10, allow_inf_nan=False, description="the actual mean rating")]


class ModelInfo(BaseModel):
    """Which model answers."""

    name: str
    version: str
    sha256: str = Field(description="of the stored model file")
    family: str
    source: str = Field(description="tmdb, imdb or sample")
    synthetic: bool = Field(description="true where the model learned from the synthetic sample")
    trained_at: str
    learned_until: str = Field(description="release date of the newest movie that it learned from")


class Maker(BaseModel):
    """Who made the movie, and what was known of them."""

    name: str
    movies: int = Field(description="earlier rated movies known of them")
    mean: float | None = Field(description="the mean rating of those; null where there are none")


class Reason(BaseModel):
    """What one field adds to the rating, against the average movie, and what was known of it."""

    field: str = Field(description="of the movie; or `expected`, what movies of its kind usually reach")
    kind: ReasonKind = Field(
        description="`person`, `company`, `collection`: who made it; `value`: what it is; `unknown`: nothing told, or "
        "none; `kind`: what movies of its kind usually reach"
    )
    points: float = Field(description="rating points")
    name: str | None = Field(description="of the first of those who made it; or the value as text, shortened")
    movies: int | None = Field(description="earlier rated movies known of the first of those who made it")
    mean: float | None = Field(description="the mean rating of those; null where there are none")
    others: list[Maker] = Field(description="up to two more of those who made it")
    more: int = Field(description="how many there are beyond those that are named")
    words: str = Field(description="the English rendering of all this but the points")


class Alike(BaseModel):
    """A known movie that resembles the one asked about."""

    title: str
    year: int
    rating: float
    likeness: float = Field(description="1 is the same in all that counts, 0 nothing alike")


class Prediction(BaseModel):
    """The mean rating to expect from the voters, 0 to 10, and the interval that should hold it."""

    id: str = Field(description="of this prediction, for /feedback")
    rating: float
    low: float
    high: float
    confidence: float = Field(description="share of cases that the interval should hold")
    level: float = Field(description="the older name of `confidence`", deprecated=True)
    base: float | None = Field(None, description="rating of the average movie; with all reasons, the prediction")
    reasons: list[Reason] = Field([], description="the weightiest first; none where they were not asked for")
    similar: list[Alike] = Field([], description="the most alike first; none where they were not asked for")
    warnings: list[str] = Field(description="what was missing, is not known or is not understood")
    model: ModelInfo


class FieldError(BaseModel):
    """What is wrong with one field, by which rule, and what to do about it."""

    field: str
    rule: str
    remedy: str


class BatchItem(BaseModel):
    """The answer to one movie of a batch, or what is wrong with it."""

    prediction: Prediction | None = None
    errors: list[FieldError] = []


class Batch(BaseModel):
    """Answers in the order of the movies."""

    results: list[BatchItem]
    model: ModelInfo


class Sentiment(BaseModel):
    """What was read in a text."""

    polarity: float = Field(description="-1 is bad, 1 is good")
    subjectivity: float = Field(description="0 is matter-of-fact, 1 is personal")
    readable: bool = Field(description="whether there was any sentiment to read; only English is read")


class TextPrediction(Prediction):
    """A prediction from a synopsis alone."""

    sentiment: Sentiment


class Voted(BaseModel):
    """What TMDB's voters say."""

    released: bool
    vote_average: float | None
    vote_count: int


class TmdbPrediction(BaseModel):
    """A movie of TMDB, what to expect of it, and what its voters say if it is out."""

    movie: Movie
    prediction: Prediction
    tmdb: Voted


class FeedbackAnswer(BaseModel):
    """That it was taken."""

    recorded: bool
