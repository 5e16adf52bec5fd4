"""What a replay shows: live errors of each policy by quarter, as a table, a plot and a page, in the store and the UI.

tmdb/replay.json   .md   .svg
"""

from __future__ import annotations

import base64
import io
import json
import os
import platform
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is needed, and none may be there

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from prefect import task
from prefect.artifacts import create_markdown_artifact

from models.evaluation import MIN_VOTES, TRAILING, judge_part, paired_bootstrap, skill
from models.movie import LEVEL
from settings import get_settings
from tasks.data.catalogue import fingerprint
from tasks.foundation.clock import now
from tasks.foundation.retrying import RETRIED
from tasks.foundation.store import open_store
from tasks.learning.identity import code_hash, commit
from tasks.learning.replaying import PastVersion
from tasks.learning.tuning import Tuned
from tasks.release.policies import BETTER, FIRST, LOOP, NEWEST, Decision, predict_live

SHORT = {LOOP: "loop", FIRST: "first", NEWEST: "newest", BETTER: "better"}
SNAPSHOT = (
    "Facts, credits and votes are those of one snapshot, that of today, on every past day as well: what was known of a "
    "movie before its release may have been less, and young movies of each hold-out had fewer votes then."
)


def summarise(
    versions: Sequence[PastVersion],
    decided: Mapping[str, Sequence[Decision]],
    movies: pd.DataFrame,
    recipe: Tuned,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return all that a replay shows, as JSON takes it; `facts` are its parameters.

    Policies are judged on the same movies: those that each of them predicted.
    """
    live = {name: predict_live(decisions, movies) for name, decisions in decided.items()}
    ids = list(set.intersection(*(set(table.index) for table in live.values())))
    live = {name: table.loc[sorted(ids)] for name, table in live.items()}
    return dict(facts) | {
        "trainings": len(versions),
        "known": [int((movies["release_date"] < pd.Timestamp(v.known_on)).sum()) for v in (versions[0], versions[-1])],
        "movies": len(ids),
        "recipe": {"family": recipe.family, "params": recipe.params, "linear_share": recipe.linear_share},
        "trials": len(recipe.trials),
        "seconds": float(np.mean([version.seconds for version in versions])),
        "policies": {name: _judge(live[name], decided[name]) for name in decided},
        "against": {name: _difference(live[LOOP], table) for name, table in live.items() if name != LOOP},
        "data": fingerprint(movies),
        "code": code_hash(),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "made_at": now().isoformat(),
    }


def _judge(live: pd.DataFrame, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the figures of a policy, as a whole and by quarter, and what it decided on each day."""
    quarters = live["released"].dt.to_period("Q")
    refused = Counter(c.name for d in decisions if not d.verdict.promote for c in d.verdict.checks if not c.passed)
    return {
        "champions": int(live["champion"].nunique()),
        "oldest_days": int((live["released"] - live["champion"]).dt.days.max()),
        "outcomes": dict(Counter(decision.verdict.outcome for decision in decisions)),
        "refused_by": dict(refused.most_common()),
        "whole": _figures("whole", live),
        "quarters": [_figures(str(quarter), live[quarters == quarter]) for quarter in sorted(quarters.unique())],
        "decisions": [
            {
                "day": str(decision.day),
                "outcome": decision.verdict.outcome,
                "champion": str(decision.champion.known_on) if decision.champion else None,
                "reason": decision.verdict.reason,
            }
            for decision in decisions
        ],
    }


def _figures(name: str, live: pd.DataFrame) -> dict[str, Any]:
    columns = (live[column].to_numpy(dtype=float) for column in ("actual", "rating", "low", "high", "baseline"))
    actual, rating, low, high, baseline = columns
    part = judge_part(name, actual, rating, (actual >= low) & (actual <= high))
    return part | {"skill": skill(actual, rating, baseline), "width": float((high - low).mean())}


def _difference(loop: pd.DataFrame, other: pd.DataFrame) -> list[float]:
    """Return by how much the loop's RMSE is larger than another policy's, and the ends of its 90 % interval."""
    actual, ours, theirs = (
        column.to_numpy(dtype=float) for column in (loop["actual"], loop["rating"], other["rating"])
    )
    resampled = paired_bootstrap(actual, theirs, ours)
    plain = np.sqrt(((actual - ours) ** 2).mean()) - np.sqrt(((actual - theirs) ** 2).mean())
    return [float(plain), *(float(np.quantile(resampled, share)) for share in (0.05, 0.95))]


def render_text(told: Mapping[str, Any]) -> str:
    """Return a summary as the terminal and README show it."""
    policies = told["policies"]
    lines = [
        f"{told['source']}, {told['start']} to {told['end']}: {told['trainings']} trainings, one every {told['every']} "
        f"days, on {told['known'][0]} to {told['known'][1]} movies",
        f"{told['movies']} movies with {MIN_VOTES} votes or more, each predicted by the champion of the day before its "
        "release",
        "",
        f"{'':<26}{'champions':>10}{'oldest':>8}{'RMSE':>8}{'bias':>8}{'90% held':>10}{'wide':>6}{'skill':>7}"
        f"{'RMSE of the loop against it':>31}",
    ]
    for name in sorted(policies, key=lambda name: -policies[name]["whole"]["rmse"]):
        whole = policies[name]["whole"]
        line = f"{name:<26}{policies[name]['champions']:>10}{policies[name]['oldest_days']:>8}{whole['rmse']:>8.3f}"
        line += f"{whole['bias']:>+8.3f}{whole['coverage_90']:>10.1%}{whole['width']:>6.2f}{whole['skill']:>7.3f}"
        if name in told["against"]:
            plain, low, high = told["against"][name]
            line += f"{f'{plain:+.3f} ({low:+.3f} to {high:+.3f})':>31}"
        lines.append(line)
    outcomes = policies[LOOP]["outcomes"]
    counted = ", ".join(f"{outcomes.get(name, 0)} {name}" for name in ("better", "refreshed", "kept"))
    why = ", ".join(f"{name} ({times})" for name, times in list(policies[LOOP]["refused_by"].items())[:4])
    lines += ["", f"the loop: {counted}" + (f"; most refused by: {why}" if why else ""), ""]
    groups = {"rmse": "RMSE", "coverage_90": "90% held", "skill": "skill"}
    lines.append(f"{'':<8}{'':>7}" + "".join(f"  {label:^28}" for label in groups.values()).rstrip())
    lines.append(f"{'':<8}{'movies':>7}" + "".join(f"  {''.join(f'{s:>7}' for s in SHORT.values())}" for _ in groups))
    for n, quarter in enumerate(policies[LOOP]["quarters"]):
        line = f"{quarter['segment']:<8}{quarter['movies']:>7}"
        for figure in groups:
            values = [policies[name]["quarters"][n][figure] for name in SHORT]
            form = "{:>7.0%}" if figure == "coverage_90" else "{:>7.2f}"
            line += "  " + "".join(form.format(value) for value in values)
        lines.append(line)
    tuned = f"of {told['trials']} trials before the start" if told["trials"] else "not tuned"
    notes = (
        f"Oldest: days from what a champion knew to a release, at most. Skill: against the {TRAILING}. In brackets: "
        f"what 90 % of resamplings held. {SNAPSHOT} Recipe: {told['recipe']['family']}, {tuned}; "
        f"{told['seconds']:.0f} s of CPU a training. Made {told['made_at'][:10]} on {told['machine']}, commit "
        f"{told['commit'][:12]}, movies {told['data']}."
    )
    return "\n".join([*lines, "", *textwrap.wrap(notes, 118)])


def plot(told: Mapping[str, Any]) -> Figure:
    """Return the error and the coverage of each policy by quarter."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=[2, 1])
    for name, policy in told["policies"].items():
        quarters = [quarter["segment"] for quarter in policy["quarters"]]
        style = {"lw": 2.2 if name == LOOP else 1.1, "marker": "o", "ms": 3, "label": name}
        above.plot(quarters, [quarter["rmse"] for quarter in policy["quarters"]], **style)
        below.plot(quarters, [quarter["coverage_90"] for quarter in policy["quarters"]], **style)
    below.axhline(LEVEL, color="k", ls="--", lw=0.8)
    above.set_ylabel("live RMSE, rating points")
    below.set_ylabel(f"share inside {LEVEL:.0%} intervals")
    above.legend(frameon=False)
    below.tick_params(axis="x", rotation=60)
    figure.tight_layout()
    return figure


def render_page(told: Mapping[str, Any]) -> str:
    """Return a summary as Markdown, with every figure by quarter and every decision of the loop."""
    rows = [
        [quarter["segment"], name, quarter["movies"], *(f"{quarter[f]:.3f}" for f in FIGURES)]
        for name, policy in told["policies"].items()
        for quarter in policy["quarters"]
    ]
    decisions = [
        [d["day"], d["outcome"], d["champion"] or "", d["reason"]] for d in told["policies"][LOOP]["decisions"]
    ]
    return "\n".join(
        [
            f"# Replay of {told['source']}, {told['start']} to {told['end']}",
            f"```text\n{render_text(told)}\n```\n",
            "## By quarter and policy\n",
            _markdown(["quarter", "policy", "movies", *FIGURES], rows),
            "## What the loop decided\n",
            _markdown(["day", "outcome", "champion", "reason"], decisions),
        ]
    )


FIGURES = ("rmse", "bias", "coverage_90", "width", "skill")


def _markdown(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(value) for value in row) + " |" for row in rows)]) + "\n"


@task(name="keep replay", task_run_name="keep the replay of {source}", **RETRIED)
def keep(told: dict[str, Any], source: str) -> str:
    """Write a summary, its page and its plot to the store and into the Prefect UI; return the key of the first."""
    store, page, figure = open_store(get_settings().store_uri), render_page(told), plot(told)
    vector, image = io.BytesIO(), io.BytesIO()
    # The same figures make the same file; text stays text.
    with plt.rc_context({"svg.hashsalt": source, "svg.fonttype": "none"}):
        figure.savefig(vector, format="svg", metadata={"Date": None})
    figure.savefig(image, format="png", dpi=70)
    plt.close(figure)
    store.write(f"{source}/replay.svg", vector.getvalue())
    store.write(f"{source}/replay.md", page.encode())
    store.write(replay_key(source), json.dumps(told, indent=1).encode())
    shown = f"![live error by quarter](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})\n\n{page}"
    create_markdown_artifact(key=f"replay-{source}", markdown=shown, description="What an operator would have seen")
    return replay_key(source)


def replay_key(source: str) -> str:
    """Return where the last replay of a source stands in the store."""
    return f"{source}/replay.json"
