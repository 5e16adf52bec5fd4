"""Compare the challenger with the champion, build and try its service, and only then move the alias.

python -m flows.promote
python -m flows.promote rollback
"""

from __future__ import annotations

import sys

from prefect import flow, get_run_logger

from tasks.bento import ask_service, build_bento
from tasks.command_line import run_from_shell
from tasks.promoting import GOLDEN_MOVIES, compare, move_champion, previous_champion, retire, same_answers
from tasks.registry import CHALLENGER, CHAMPION, find


@flow(name="promote-model")
def promote_model(version: int | None = None) -> dict[str, str | int | bool]:
    """Make a version champion if it is truly better, and build its service.

    version: number in the registry; default: the one with the alias challenger.
    """
    log = get_run_logger()
    challenger = find(str(version or CHALLENGER))
    verdict = compare(challenger)
    log.info("%s: %s", challenger.label, verdict.reason)
    bento = ""
    if verdict.promote:
        bento = build_bento(challenger)
        answers = ask_service(bento, GOLDEN_MOVIES)
        same_answers(challenger, answers)
        move_champion(challenger, verdict.reason)
    return {"version": challenger.number, "promoted": verdict.promote, "reason": verdict.reason, "bento": bento}


@flow(name="rollback-model")
def rollback_model() -> dict[str, str | int]:
    """Make the champion before this one champion again, and build its service if it is gone."""
    log = get_run_logger()
    current, previous = find(CHAMPION), previous_champion()
    bento = build_bento(previous)
    same_answers(previous, ask_service(bento, GOLDEN_MOVIES))
    retire(current, previous)
    log.info("rolled back from %s to %s", current.label, previous.label)
    return {"version": previous.number, "from": current.number, "bento": bento}


if __name__ == "__main__":
    rollback = sys.argv[1:2] == ["rollback"]
    print(run_from_shell(rollback_model if rollback else promote_model, sys.argv[2 if rollback else 1 :]))
