"""The living run: one at a time, one for all days that were missed, each step whatever became of the others.

A run takes a lease in the store, so that the next one knows whether it lives: one that never gave the lease back has
died, and is called Crashed where Prefect, which in version 2 has no heartbeats, still calls it Running. Of runs that
are due together, after days of silence, only the newest does anything: collection catches up by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect import Flow, get_client, runtime
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed, State

from settings import get_settings
from tasks.foundation.clock import now
from tasks.foundation.lease import Taken, lease
from tasks.foundation.run_log import log
from tasks.foundation.store import open_store

ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
PROMOTING = "promote-model/manual"
WAITED = 10.0  # seconds between two looks at a run that is at work


@dataclass(frozen=True)
class Step:
    """What became of a step: done, failed, or left out, for want of what it needs."""

    name: str
    outcome: str
    words: str
    seconds: float


class Steps:
    """The steps of a run, each carried out whatever became of those that it does not need."""

    def __init__(self) -> None:
        self.taken: list[Step] = []
        self.may_wait: tuple[type[Exception], ...] = ()  # what is no failure: a later day brings what is missing

    def take(self, name: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a step returns, or None where it failed or has to wait, which is kept and told."""
        began = time.monotonic()
        options |= {"return_state": True} if isinstance(call, Flow) else {}
        try:
            result = call(*arguments, **options)
            if isinstance(result, State):
                result = result.result()
        except Exception as error:
            if isinstance(error, self.may_wait):
                log().warning("%s was left out: %s", name, error)
                self._add(name, "left out", str(error), began)
                return None
            words = f"{type(error).__name__}: {error}"
            log().error("%s failed, and what does not need it goes on: %s", name, words)
            self._add(name, "failed", words, began)
            return None
        self._add(name, "done", "", began)
        return result

    @property
    def left_out(self) -> str:
        """What was left out, and why, in words; "" where nothing was."""
        return "; ".join(f"{step.name} was left out: {step.words}" for step in self.taken if step.outcome == "left out")

    @property
    def failures(self) -> str:
        """What failed, in words; "" where nothing did."""
        return "; ".join(f"{step.name}: {step.words}" for step in self.taken if step.outcome == "failed")

    def show(self) -> None:
        """Put the steps into the Prefect UI."""
        table = [
            {"step": s.name, "outcome": s.outcome, "seconds": round(s.seconds, 1), "words": s.words[:500]}
            for s in self.taken
        ]
        create_table_artifact(key="daily", table=table, description="What became of each step of the daily run")

    def _add(self, name: str, outcome: str, words: str, began: float) -> None:
        self.taken.append(Step(name, outcome, words, time.monotonic() - began))


@contextmanager
def daily_lock(minutes: float) -> Iterator[None]:
    """Be the only daily run while the block runs; one that is at work is waited for.

    Raises Taken, with who is at work, where that takes longer than so many minutes.
    """
    store, name, run = open_store(get_settings().store_uri), f"daily-{get_settings().model_name}", runtime.flow_run
    deadline, waiting_for = time.monotonic() + minutes * 60, ""
    with ExitStack() as held:
        while True:
            try:
                ours = held.enter_context(lease(store, name, f"{run.flow_name}/{run.name} {run.id}"))
                break
            except Taken as taken:
                if time.monotonic() > deadline:
                    words = f"{taken} is still at work after {minutes:g} minutes: wait for it, or cancel it"
                    raise Taken(words) from None
                if str(taken) != waiting_for:
                    waiting_for = str(taken)
                    log().info("waiting for %s", waiting_for)
                time.sleep(WAITED)
        if ours.died:
            asyncio.run(_bury(UUID(ours.died.rpartition(" ")[2])))
        yield


def overtaken_by() -> str | None:
    """Return the name of a later run of this deployment that is due or done, and so does this one's work; or None."""
    deployment, due = runtime.deployment.id, runtime.flow_run.scheduled_start_time
    if not deployment:
        return None
    later = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[UUID(deployment)]),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=due, before_=now()),
        state=_in_state(*ALIVE, StateType.COMPLETED),
    )
    runs = [run for run in asyncio.run(_read(later)) if _due(run) > due and str(run.id) != runtime.flow_run.id]
    return max(runs, key=_due).name if runs else None


def ask_a_person(version: int, ship_to: list[str]) -> dict[str, str]:
    """Begin a promotion that a person must approve, as a run of its own, and return what was done, as its reason.

    A run that waits leaves its worker, which a step of another run cannot. Raises RuntimeError where there is no server
    or no such deployment.
    """
    if not PREFECT_API_URL.value():
        raise RuntimeError(
            "require_approval needs a Prefect server that asks: start one (make ui) and set PREFECT_API_URL"
        )
    waiting = asyncio.run(_waiting_promotion())
    if waiting:
        return {"reason": f"{waiting.name} waits for a person already: v{version} was not promoted"}
    asked = {"version": version, "ship_to": ship_to, "require_approval": True}
    run: Any = run_deployment(PROMOTING, parameters=asked, timeout=0, as_subflow=False)
    return {"reason": f"{run.name} asks a person about v{version}"}


async def _waiting_promotion() -> FlowRun | None:
    async with get_client() as client:
        try:
            deployment = await client.read_deployment_by_name(PROMOTING)
        except ObjectNotFound:
            raise RuntimeError(f"there is no deployment {PROMOTING} to ask a person: make deploy") from None
    of_it = FlowRunFilterDeploymentId(any_=[deployment.id])
    runs = await _read(FlowRunFilter(deployment_id=of_it, state=_in_state(*ALIVE, StateType.PAUSED)))
    return runs[0] if runs else None


async def _bury(dead: UUID) -> None:
    """Call a run Crashed that died, and its steps, where Prefect still calls them Running."""
    running = _in_state(StateType.RUNNING)
    steps = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[dead]), state=running)
    itself = FlowRunFilter(id=FlowRunFilterId(any_=[dead]), state=running)
    async with get_client() as client:
        for gone in [*await _read(steps), *await _read(itself)]:
            message = f"its process is gone; {runtime.flow_run.name} goes on from there"
            await client.set_flow_run_state(gone.id, Crashed(message=message), force=True)
            log().warning("%s had died: %s", gone.name, message)


async def _read(wanted: FlowRunFilter) -> list[FlowRun]:
    async with get_client() as client:
        runs: list[FlowRun] = await client.read_flow_runs(flow_run_filter=wanted, limit=200)
        return runs


def _in_state(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)), name=None)


def _due(run: FlowRun) -> datetime:
    due: datetime | None = run.expected_start_time
    assert due is not None
    return due
