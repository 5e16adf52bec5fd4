"""The tone of a text, by TextBlob: the slowest part of the features, and the same whenever the text is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from textblob.en import sentiment as _textblob_sentiment

Read = Callable[[str], tuple[float, float]]  # a text -> polarity, subjectivity


def read_sentiment(words: str) -> tuple[float, float]:
    """Return TextBlob's polarity (-1 to 1) and subjectivity (0 to 1); (0, 0) where it finds nothing to read."""
    polarity, subjectivity = _textblob_sentiment(words)
    return float(polarity), float(subjectivity)


def is_readable(polarity: float, subjectivity: float) -> bool:
    """Return whether a text had any sentiment to read."""
    return polarity != 0 or subjectivity != 0


class Sentiments:
    """Reads each text once: called as `read_sentiment` is.

    A training reads the same texts again and again, and keeps `known`, by digest, from run to run. A service must not
    keep what its users wrote, and reads anew.
    """

    def __init__(self, known: Mapping[str, tuple[float, float]] | None = None) -> None:
        self.known = dict(known or {})

    def __call__(self, words: str) -> tuple[float, float]:
        digest = text_digest(words)
        if digest not in self.known:
            self.known[digest] = read_sentiment(words)
        return self.known[digest]


def text_digest(words: str) -> str:
    """Return the name under which the sentiment of a text is known."""
    return hashlib.blake2b(words.encode(), digest_size=10).hexdigest()
