"""What a life came to, month by month: what was collected, promoted, served, asked, and how wrong it was in the end.

A live prediction is the last one of the table `upcoming` before a movie's release. It is judged by what TMDB will say
180 days after the last day, where 50 people or more will have voted; the same movies, as they were known on that last
day, are predicted by the first champion for comparison.
"""

from __future__ import annotations

import base64
import html
import io
import shlex
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from models.body import record
from models.questions import mask_fields
from sample import living, tmdb_server
from serving.tables import UPCOMING
from settings import get_settings
from tasks.data.catalogue import list_partitions, read_catalogue
from tasks.data.partitions import Partition, is_intact
from tasks.foundation.clock import now
from tasks.foundation.store import open_store
from tasks.foundation.warehouse import connect
from tasks.registry import versions as registry
from tasks.registry.scoring import records, score
from tasks.release import ledger

if TYPE_CHECKING:
    from benchmarks.live import Life

MATURE, LATER, LEVEL = 50, timedelta(days=180), 0.9
MIN_VOTES = 20  # of the daily deployment
SETTLED = timedelta(days=40)  # what had its votes so long ago must have been collected


@dataclass
class Report:
    """A table by month, one line of facts, and what should not have happened."""

    months: list[dict[str, Any]]
    facts: dict[str, str]
    broken: list[str]
    plots: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return it as a person reads it in a terminal."""
        table = pd.DataFrame(self.months).to_string(index=False)
        lines = [f"{name:<34}{value}" for name, value in self.facts.items()]
        faults = [f"BROKEN: {fault}" for fault in self.broken] or ["nothing happened that must not"]
        return "\n".join(["", "Synthetic world, real servers", "", table, "", *lines, "", *faults])

    def html(self) -> str:
        """Return it as a page of its own."""
        table = pd.DataFrame(self.months).to_html(index=False)
        lines = "".join(f"<li>{html.escape(k)}: {html.escape(v)}</li>" for k, v in self.facts.items())
        faults = "".join(f"<li>{html.escape(fault)}</li>" for fault in self.broken) or "<li>none</li>"
        plots = "".join(f'<p><img alt="" src="data:image/png;base64,{plot}"></p>' for plot in self.plots)
        style = "body{font:15px sans-serif;max-width:70em;margin:2em auto}td,th{padding:.2em .6em;text-align:right}"
        return (
            f"<!doctype html><meta charset=utf-8><title>A life of Premiere</title><style>{style}</style>"
            f"<h1>A life of Premiere</h1><p>The movies are synthetic, the servers real.</p>{table}<ul>{lines}</ul>"
            f"<h2>What must not happen, and did</h2><ul>{faults}</ul>{plots}"
        )


def judge(life: Life, sample: str) -> Report:
    """Judge a life whose servers still run."""
    world = tmdb_server.options_of(["--today", str(life.days[-1].day), *shlex.split(sample), *_shocks(life.shocks)])
    lives = {int(one.finished["id"]): one for one in tmdb_server.lives_of(world)}
    predictions = live_predictions(lives, life.days[-1].day + LATER)
    entries = ledger.read()
    served = life.people.asked
    ended = [day for day in life.days if day.state not in ("missed", "killed")]
    months = []
    for month in sorted({f"{day.day:%Y-%m}" for day in life.days}):
        of_it = [day for day in ended if f"{day.day:%Y-%m}" == month]
        judged = predictions[predictions["release_date"].map(lambda day, month=month: f"{day:%Y-%m}" == month)]
        months.append(
            {
                "month": month,
                "days": len(of_it),
                "ill": sum(day.state != "Completed" for day in of_it),
                "asked": sum(day.asked for day in of_it),
                "failed": sum(day.failed for day in of_it),
                "seconds a day": round(float(np.median([day.seconds for day in of_it])), 0) if of_it else None,
                "MB": round(of_it[-1].bytes / 1e6) if of_it else None,
                "champion": of_it[-1].champion if of_it else "",
                "judged": len(judged),
                **errors(judged),
            }
        )
    partitions = list_partitions(open_store(get_settings().store_uri), "sample")
    outcomes = Counter(entry.event for entry in entries if entry.event != "moving")
    happened = Counter(day.event for day in life.days if day.event)
    seconds = served.seconds or [0.0]
    calm = [day.seconds for day in ended if not day.event]
    known = {version.label: version.known_on for version in registry.all_versions()}
    ages = [(day.day - known[day.champion]).days for day in ended if day.champion in known]
    facts = {
        "champions": ", ".join(f"{count} {event}" for event, count in sorted(outcomes.items())),
        "versions that answered": ", ".join(f"{version}: {count}" for version, count in served.answered.items()),
        "requests": f"{served.total()} answered, {len(served.failed)} failed",
        "slowest answer": f"{max(seconds):.2f} s, median {np.median(seconds) * 1e3:.0f} ms",
        "what happened": ", ".join(f"{count} × {event}" for event, count in happened.items()),
        "a day without a fault": f"{np.median(calm[:10]):.0f} s at first, {np.median(calm[-10:]):.0f} s in the end"
        if calm
        else "none",
        "oldest champion": f"learned from the world of {max(ages, default=0)} days before",
        "quarantined": f"{sum(len(partition.refused) for partition in partitions)} records",
        "all movies judged": ", ".join(f"{name} {value}" for name, value in errors(predictions).items()),
    }
    return Report(months, facts, broken(life, lives, partitions), [_plot(months)])


def _shocks(shocks: list[str]) -> list[str]:
    return [part for shock in shocks for part in ("--shock", shock)]


def live_predictions(lives: dict[int, living.Life], then: date) -> pd.DataFrame:
    """Return the last prediction of each movie before its release, what it got, and what the first champion says."""
    engine = connect()
    try:
        with engine.connect() as connection:
            found = connection.execute(sa.select(UPCOMING))
            rows = pd.DataFrame(found.fetchall(), columns=list(found.keys()))
    finally:
        engine.dispose()
    rows = rows[rows["as_of"] < rows["release_date"]].sort_values("as_of").drop_duplicates("id", keep="last")
    bodies = {i: lives[i].body(i, then) for i in map(int, rows["id"]) if i in lives}
    rows = rows[[i in bodies and bodies[i]["vote_count"] >= MATURE for i in map(int, rows["id"])]]
    out = rows[pd.to_datetime(rows["release_date"]) <= pd.Timestamp(then - LATER)].reset_index(drop=True)
    if out.empty:
        return out.assign(actual=[], first=[])
    out["actual"] = [bodies[i]["vote_average"] for i in map(int, out["id"])]
    path = [entry.to for entry in ledger.read() if entry.event in ledger.MADE]
    known = [lives[int(row.id)].body(int(row.id), row.as_of) for row in out.itertuples()]
    facts = pd.DataFrame([record(body, now()) for body in known])
    facts["release_date"] = pd.to_datetime(facts["release_date"])
    asked = [mask_fields(movie) for movie in records(facts)]
    out["first"] = score(registry.find(str(path[0])), "model", asked).ratings
    return out


def errors(judged: pd.DataFrame) -> dict[str, float | None]:
    """Return RMSE, bias and coverage of live predictions, and the RMSE of the first champion on the same movies."""
    if judged.empty:
        return {"RMSE": None, "bias": None, "held": None, "first champion": None}
    off = judged["rating"] - judged["actual"]
    held = (judged["low"] <= judged["actual"]) & (judged["actual"] <= judged["high"])
    return {
        "RMSE": round(float(np.sqrt((off**2).mean())), 3),
        "bias": round(float(off.mean()), 3),
        "held": round(float(held.mean()), 3),
        "first champion": round(float(np.sqrt(((judged["first"] - judged["actual"]) ** 2).mean())), 3),
    }


def broken(life: Life, lives: dict[int, living.Life], partitions: list[Partition]) -> list[str]:
    """Return what should not have happened, in words."""
    found = [f"{day.day}: {day.disagree}" for day in life.days if day.disagree]
    found += [f"a request failed: {words}" for words in life.people.asked.failed[:10]]
    store = open_store(get_settings().store_uri)
    for partition in partitions:
        if not is_intact(store, partition):
            found.append(f"half a partition: {partition.slice} of {partition.logical_date}")
    for version in registry.all_versions():
        if "retired" not in version.tags and not registry.has_files(version):
            found.append(f"{version.label} of the registry has no files")
    ids = Counter(read_catalogue(store, "sample")["id"].tolist())
    found += [f"{count} records of movie {i}" for i, count in ids.items() if count > 1]
    today = life.days[-1].day
    then = today - SETTLED
    for movie_id, one in lives.items():
        known = all(movie_id in one.ids(day) for day in (then, today)) and one.release and one.release < then
        if known and one.body(movie_id, then)["vote_count"] >= MIN_VOTES and movie_id not in ids:
            found.append(f"movie {movie_id} of {one.release} was never collected")
    return found


def _plot(months: list[dict[str, Any]]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    judged = [month for month in months if month["RMSE"] is not None]
    for name in ("RMSE", "first champion"):
        axes.plot([month["month"] for month in judged], [month[name] for month in judged], marker="o", label=name)
    axes.set_ylabel("RMSE of live predictions")
    axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return base64.b64encode(image.getvalue()).decode()
