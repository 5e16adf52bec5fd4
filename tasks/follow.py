"""Watch the champion's alias for a running service: a line of JSON for each new one, once it is in BentoML's store.

python -m tasks.follow --serving v7
"""

from __future__ import annotations

import argparse
import json
import os
import time

import numpy as np

from models.movie import Movie
from tasks.bento import import_model, model_tag
from tasks.probing import GOLDEN_MOVIES, LEVEL
from tasks.rating import rate
from tasks.registry import CHAMPION, find

SECONDS = 5


def main() -> None:
    """Look every few seconds, until the service is gone."""
    parser = argparse.ArgumentParser(description="Tell a service of new champions")
    parser.add_argument("--serving", required=True, help="the version that it serves, for example v7")
    said, parent = parser.parse_args().serving, os.getppid()
    while os.getppid() == parent:
        try:
            champion = find(CHAMPION)
            if champion.label != said:
                said = champion.label
                import_model(champion)
                rated = rate(champion, "model", [Movie(**movie) for movie in GOLDEN_MOVIES], [LEVEL])
                answers = np.stack([rated.ratings, *rated.intervals[LEVEL]], axis=1).tolist()
                _say({"tag": model_tag(champion), "movies": GOLDEN_MOVIES, "answers": answers})
        except Exception as error:
            _say({"tag": said, "error": f"{type(error).__name__}: {error}"[:300]})
        time.sleep(SECONDS)


def _say(news: dict[str, object]) -> None:
    print(json.dumps(news), flush=True)


if __name__ == "__main__":
    main()
