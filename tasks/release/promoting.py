"""Compare the challenger with the champion on the same movies, promote it, ship it, or go back to the one before."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from prefect import get_client, runtime, suspend_flow_run, task
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.input import RunInput

from models.comparing import decide_on, split_unseen
from models.promotion import Gate, Verdict
from models.questions import RECORD, views
from settings import get_settings
from tasks.foundation.alerts import alert
from tasks.foundation.lease import Lease
from tasks.foundation.run_log import log
from tasks.learning.loading import read_movies
from tasks.learning.report import verdict_plot
from tasks.registry import versions as registry
from tasks.registry.scoring import Scored, records, score
from tasks.registry.versions import Version
from tasks.release import ledger
from tasks.release.ledger import Entry, Event
from tasks.release.moving import begin_move, prepare_all
from tasks.release.shipping import SWITCHED, activate, with_needed
from tasks.release.targets.shipment import Shipment, Target


class Approval(RunInput):
    """What a person answers in the Prefect UI."""

    approve: bool
    reason: str = ""


@task(name="compare", task_run_name="compare {challenger.label} with the champion")
def compare(challenger: Version, champion: Version | None, gate: Gate) -> Verdict:
    """Judge the challenger's hold-out fit against the champion's and the baselines, on movies new to both."""
    verdict, plot = _compare(challenger, champion, gate)
    _show(challenger, verdict, plot)
    registry.tag_version(challenger, {"verdict": verdict.reason, "figures": json.dumps(verdict.figures)})
    if not verdict.promote and not (champion and champion.number == challenger.number):
        facts = {"previous": champion.number if champion else None, "figures": verdict.figures}
        ledger.add("rejected", to=challenger.number, reason=verdict.reason, sha256=challenger.tags["sha256"], **facts)
    return verdict


def _compare(challenger: Version, champion: Version | None, gate: Gate) -> tuple[Verdict, Figure | None]:
    if champion and champion.number == challenger.number:
        return _kept(f"{challenger.label} is champion already")
    if "rolled_back" in challenger.tags:
        return _kept(f"{challenger.label} was rolled back on {challenger.tags['rolled_back']}")
    if champion and champion.tags["synthetic"] != challenger.tags["synthetic"]:
        if challenger.tags["synthetic"] == "true":
            return _kept(f"{challenger.label} learned from synthetic movies, the champion from real ones")
        champion = None  # a model of real movies owes nothing to one of the sample
    if champion and champion.tags["source"] != challenger.tags["source"]:
        reason = "{} learned ratings of {}, the champion those of {}: give it a MODEL_NAME of its own"
        return _kept(reason.format(challenger.label, challenger.tags["source"], champion.tags["source"]))
    as_of = pd.Timestamp(challenger.tags["as_of"])
    movies = read_movies(challenger.tags["source"], challenger.known_on)  # what it learned from itself
    train, unseen = split_unseen(movies, as_of, [v.tags["judged_until"] for v in (challenger, champion) if v])
    if unseen.empty:
        return _kept(f"no hold-out movie is new to both: {challenger.label} is as of {as_of.date()}")
    new, old = _score_as_asked(challenger, unseen), None
    if champion:
        try:
            old = _score_as_asked(champion, unseen)
        except (LookupError, RuntimeError) as error:
            return _kept(
                f"the champion {champion.label} cannot be compared with: {error}. Bring its files back from the "
                "registry's backup, or roll back to a version that has its own"
            )
    verdict = decide_on(
        train,
        unseen,
        {way: said.predictions for way, said in new.items()},
        {way: said.predictions for way, said in old.items()} if old else None,
        gate,
        look=ledger.looks(ledger.read(), champion.number, challenger.number) if champion else 1,
        learned_days=(challenger.known_on - champion.known_on).days if champion else 0,
    )
    actual = unseen["vote_average"].to_numpy(dtype=float)
    return verdict, verdict_plot(actual, new[RECORD].ratings, old[RECORD].ratings if old else None)


def _score_as_asked(version: Version, movies: pd.DataFrame) -> dict[str, Scored]:
    """Return what a version's hold-out fit says of whole records, and of the same movies by way of asking."""
    known = records(movies)
    asked = views(known)
    rated = score(version, "judged", [movie for view in asked.values() for movie in view])
    return {way: rated.part(n * len(known), len(known)) for n, way in enumerate(asked)}


def _kept(reason: str) -> tuple[Verdict, None]:
    return Verdict("kept", reason), None


def _show(challenger: Version, verdict: Verdict, plot: Figure | None) -> None:
    """Put the verdict, its checks, figures and plot into the Prefect UI, and the plot into MLflow."""
    outcomes = {
        "better": "is better",
        "refreshed": "refreshes the champion, and is not better",
        "kept": "is not promoted",
    }
    outcome = outcomes[verdict.outcome]
    parts = [f"**{challenger.label} {outcome}.** {verdict.reason}"]
    if plot:
        registry.client().log_figure(challenger.run_id, plot, "verdict.png")
        image = io.BytesIO()
        plot.savefig(image, format="png", dpi=70)
        parts.append(
            f"![how sure the difference is](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"
        )
        plt.close(plot)
    checks = "\n".join(f"| {'✓' if check.passed else '✗'} | {check.words} |" for check in verdict.checks)
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in verdict.figures.items())
    parts += [f"| | check |\n|---|---|\n{checks}", f"| figure | value |\n|---|---|\n{figures}"]
    description = f"The verdict on {challenger.label}"
    create_markdown_artifact(key="promotion", markdown="\n\n".join(parts), description=description)


def approved(challenger: Version, reason: str) -> bool:
    """Suspend the flow until a person approves or declines in the Prefect UI (Resume, on the run's page).

    The run leaves its worker meanwhile and starts again from the top when it is answered. What was answered counts for
    this version alone: where another became challenger meanwhile, it is asked about anew.
    """
    key = f"approval-{challenger.label}"
    question = f"**{challenger.label}** passed every gate: {reason}. Approve, and it becomes champion."
    context = FlowRunContext.get()
    asked = context.flow_run.empirical_policy.pause_keys if context and context.flow_run else None
    if key not in (asked or ()):  # not when it was answered and starts again
        alert(f"{get_settings().model_name} {challenger.label} waits for approval: {reason}. {runtime.flow_run.ui_url}")
    answer: Any = suspend_flow_run(
        wait_for_input=Approval.with_initial_data(description=question, approve=False),
        timeout=7 * 86_400,
        key=key,
    )
    if not answer.approve:
        said = f"a person declined: {answer.reason or 'no reason given'}"
        ledger.add("rejected", to=challenger.number, reason=said, sha256=challenger.tags["sha256"])
        log().info("%s: %s", challenger.label, said)
    return bool(answer.approve)


def promote(
    challenger: Version, champion: Version | None, verdict: Verdict, ship_to: Sequence[Target], held: Lease
) -> Entry:
    """Ship a version that passed against a champion, and make it champion.

    Raises RuntimeError where another became champion since the two were compared.
    """
    now = registry.current_champion()
    if (now and now.number) != (champion and champion.number):
        raise RuntimeError(
            f"{now.label if now else 'nobody'} became champion after {challenger.label} was compared with "
            f"{champion.label if champion else 'nobody'}: promote it again to compare anew"
        )
    previous = champion.number if champion else None
    ends_as: Event = "refreshed" if verdict.outcome == "refreshed" else "promoted"
    return begin_move(challenger, previous, ends_as, verdict.reason, prepare_all(challenger, ship_to), held, verdict)


def was_completed(run: str) -> bool:
    """Say whether a flow run came to its end, as far as this Prefect server knows; one that it does not know did."""

    async def state() -> str | None:
        async with get_client() as client:
            try:
                found = (await client.read_flow_run(UUID(run))).state
            except ObjectNotFound:
                return None
            return found.type.value if found else None

    return not run or run == runtime.flow_run.id or asyncio.run(state()) in (None, "COMPLETED")


def ship(champion: Version, ship_to: Sequence[Target], held: Lease) -> list[Shipment]:
    """Bring the champion to targets where it is not yet; return all of them."""
    known = ledger.shipments(ledger.read(), champion.number)
    missing = [target for target in with_needed(ship_to) if target not in known]
    if missing:
        new = [shipment for shipment in prepare_all(champion, missing) if shipment.target in missing]
        for shipment in new:
            held.check()
            activate(shipment)
        ledger.add("shipped", to=champion.number, sha256=champion.tags["sha256"], shipments=new, fence=held.number)
        ledger.show()
        known |= {shipment.target: shipment for shipment in new}
    return [known[target] for target in with_needed(ship_to)]


def roll_back(reason: str, held: Lease, leave: int | None = None) -> Entry:
    """Make the champion before the present one champion again, wherever the present one was shipped.

    Where `leave` names another version than the present champion, that one was left already: its record is returned.
    Raises LookupError where there is no earlier one, or where it was never shipped to a target of the present one.
    """
    records = ledger.read()
    path = ledger.champions(records)
    last = next((r for r in reversed(records) if r.event in ledger.MADE), None)
    if leave is None and last and last.event == "rolled back" and not was_completed(last.run):
        log().warning(
            "%s had rolled back to v%s and did not end: nothing more was done, run it again", last.by, last.to
        )
        return last
    left = [r for r in records if r.event == "rolled back" and r.previous == leave]
    if leave is not None and path[-1:] != [leave]:
        if left:
            return left[-1]
        raise LookupError(f"v{leave} is not champion, v{path[-1] if path else 'none'} is: there is nothing to leave")
    if len(path) < 2:
        raise LookupError("there is no earlier champion to go back to: only one version was ever promoted")
    current, previous = path[-1], path[-2]
    there, back = ledger.shipments(records, current), ledger.shipments(records, previous)
    missing = [target for target in there if target not in back and target in SWITCHED]
    if missing:
        raise LookupError(f"v{previous} was never shipped to {', '.join(missing)}: it cannot come back there")
    shipments = [shipment for target, shipment in back.items() if target in there]
    return begin_move(registry.find(str(previous)), current, "rolled back", reason, shipments, held)
