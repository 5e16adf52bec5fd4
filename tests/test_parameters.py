"""What flows refuse before anything is asked or written. No Prefect runs here: the check is each flow's first line."""

from __future__ import annotations

import importlib
import inspect
import json
import math
from datetime import date, timedelta
from typing import Any

import pytest
from conftest import RECORDED
from prefect import Flow

from flows.collect import collect_movies
from flows.promote import promote_model
from models.movie import FIRST_DATE, LAST_DATE
from models.promotion import Gate
from settings import PROJECT
from tasks.operations.parameters import RULES, check_parameters

NAN, INF, DAY = math.nan, math.inf, timedelta(days=1)
FREE = {"reason", "require_approval", "adopt", "restore"}  # a text, and true or false
WRONG: dict[str, list[Any]] = {
    "start": [FIRST_DATE - DAY, LAST_DATE + DAY, date.max],
    "end": [FIRST_DATE - DAY, LAST_DATE + DAY, date.max],
    "min_votes": [-1],
    "max_refused": [NAN, -0.01, 1.01, 5, INF],
    "source": ["netflix"],
    "trials": [0, -1],
    "as_of": [date(1800, 1, 1), date(1899, 12, 31), date.today() + timedelta(days=800), date.max],
    "seed": [-1, 2**31],
    "minutes": [NAN, -1],
    "version": [0, -1],
    "ship_to": [[], ["moon"]],
    "to": [[], ["moon"]],
    "confidence": [NAN, 0.5, 0.2, 1.0, 1.5, INF],
    "segment_margin": [NAN, -0.1, INF],
    "interval_margin": [NAN, -0.1, 1.1],
    "refresh_days": [0, -1],
    "refresh_margin": [NAN, 0, -0.1, 1.1],
    "every": [0, -30],
    "years": [0, -1, 151],
    "tune_every": [-1],
    "history_a_day": [0, 151],
    "leave": [0, -1],
    "coverage_margin": [NAN, -0.1, 0.5],
    "latency_ms": [NAN, 0, -1],
}
RIGHT: dict[str, list[Any]] = {
    "start": [FIRST_DATE, LAST_DATE],
    "end": [FIRST_DATE, LAST_DATE],
    "min_votes": [0],
    "max_refused": [0, 1],
    "source": ["tmdb", "imdb", "sample"],
    "trials": [1],
    "as_of": [date(1900, 1, 1), date.today(), date.today() + timedelta(days=700)],
    "seed": [0, 2**31 - 1],
    "minutes": [0, 0.01, INF],
    "version": [1],
    "ship_to": [["bento"], ["s3", "image", "registry", "ecs", "compose"]],
    "to": [["registry"]],
    "confidence": [0.51, 0.99],
    "segment_margin": [0, 0.1],
    "interval_margin": [0, 0.1],
    "refresh_days": [1, 30],
    "refresh_margin": [0.01, 1],
    "every": [1, 30],
    "years": [1, 150],
    "tune_every": [0, 7],
    "history_a_day": [1, 150],
    "leave": [1],
    "coverage_margin": [0, 0.49],
    "latency_ms": [0.1],
}


def flows() -> list[Flow[..., Any]]:
    modules = [importlib.import_module(f"flows.{path.stem}") for path in (PROJECT / "flows").glob("[a-z]*.py")]
    found = {flow.name: flow for module in modules for flow in vars(module).values() if isinstance(flow, Flow)}
    return [found[name] for name in sorted(found)]


def test_every_parameter_of_every_flow_has_a_rule_or_is_free() -> None:
    names = {name for flow in flows() for name in inspect.signature(flow.fn).parameters}
    assert len(flows()) >= 9
    assert names - FREE == set(RULES) == set(WRONG) == set(RIGHT)


@pytest.mark.parametrize("flow", flows(), ids=lambda flow: flow.name)
def test_nonsense_is_refused_first_of_all_with_name_rule_and_remedy(flow: Flow[..., Any]) -> None:
    for name in set(inspect.signature(flow.fn).parameters) - FREE:
        for value in WRONG[name]:
            with pytest.raises(ValueError, match=rf"{name} is .*: it must .*; "):
                flow.fn(**{name: value})


def test_what_makes_sense_and_what_is_left_out_is_accepted() -> None:
    for name, values in RIGHT.items():
        for value in (*values, None):
            check_parameters(**{name: value})
    check_parameters(start=date(2020, 1, 1), end=date(2020, 1, 1))


def test_defaults_keep_the_rules() -> None:
    for flow in flows():
        check_parameters(**{n: p.default for n, p in inspect.signature(flow.fn).parameters.items()})


def test_the_start_comes_before_the_end() -> None:
    with pytest.raises(ValueError, match="start is 2020-01-01, after end, which is 2019-01-01: it must"):
        collect_movies.fn(date(2020, 1, 1), date(2019, 1, 1))


def test_to_adopt_and_to_restore_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="adopt and restore"):
        promote_model.fn(adopt=True, restore=True)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"min_votes is -3.*trials is 0"):
        check_parameters(min_votes=-3, trials=0)


def test_a_start_after_the_end_that_is_left_out_is_refused(environment: Any, prefect_api: None) -> None:
    with pytest.raises(ValueError, match=r"start is 2090-01-01, after end"):
        collect_movies(start=date(2090, 1, 1))
    assert not any(environment.iterdir())


def test_the_gate_refuses_what_its_parameters_refuse() -> None:
    for name in inspect.signature(Gate).parameters:
        for value in WRONG[name]:
            with pytest.raises(ValueError):
                Gate(**{name: value})


@pytest.mark.recorded
def test_the_recorded_nonsense_is_refused() -> None:
    for given in json.loads((RECORDED / "cases" / "21-start-after-end.json").read_text())["parameters"]:
        read = {name: date.fromisoformat(v) if "-" in str(v)[1:] else float(v) for name, v in given.items()}
        with pytest.raises(ValueError, match="|".join(read)):
            check_parameters(**read)
