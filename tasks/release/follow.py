"""Watch the champion's alias for a running service: a line of JSON for each new one, once it is in BentoML's store.

python -m tasks.release.follow --serving v7
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from settings import get_settings
from tasks.foundation import tether
from tasks.registry.versions import CHAMPION, Version, find
from tasks.release.targets.bento import import_model, model_tag
from tasks.release.targets.probing import GOLDEN_MOVIES, score_golden

SECONDS, LONGEST = 5.0, 300.0  # between looks, and between tries of what fails again and again


def main() -> None:
    """Look every few seconds, until the service is gone."""
    parser = argparse.ArgumentParser(description="Tell a service of new champions")
    parser.add_argument("--serving", required=True, help="the version that it serves, for example v7")
    follow(parser.parse_args().serving, lambda news: print(json.dumps(news), flush=True))


def follow(serving: str, say: Callable[[dict[str, Any]], None]) -> None:
    """Say for ever what the champion is whenever it is another, or what keeps it from being told.

    A champion counts as told only then: what failed is tried again after growing pauses, another one at once.
    """
    told, news = serving, {"tag": f"{get_settings().model_name}:{serving}"}
    failed, pause, due = "", SECONDS, 0.0
    while True:
        wanted = "the registry"
        try:
            champion = find(CHAMPION)
            wanted = champion.label
            if wanted != told and (wanted != failed or time.monotonic() >= due):
                news = prepare(champion)
                say(news)
                told, failed = wanted, ""
            elif wanted == told and failed:
                say(news)
                failed = ""
        except Exception as error:
            pause = min(2 * pause, LONGEST) if wanted == failed else SECONDS
            failed, due = wanted, time.monotonic() + pause
            tag = "" if wanted == "the registry" else model_tag(champion)
            say({"tag": tag, "error": f"{type(error).__name__}: {error}"[:300]})
        time.sleep(pause if failed == "the registry" else SECONDS)


def prepare(champion: Version) -> dict[str, Any]:
    """Put a champion into BentoML's store; return its tag there and what it answers to the golden movies."""
    import_model(champion)
    answers = score_golden(champion).table().tolist()
    return {"tag": model_tag(champion), "movies": GOLDEN_MOVIES, "answers": answers}


if __name__ == "__main__":
    tether.hold()
    main()
