"""What a person finds in Prefect's UI: names of runs, words and bounds of parameters."""

from __future__ import annotations

import inspect
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator
from prefect import flow, runtime
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools import ValidationError, validate
from test_parameters import RIGHT, WRONG, flows

from flows.pipeline import run_pipeline
from settings import PROJECT
from tasks.data.source import source_to_collect, source_to_learn_from
from tasks.operations.parameters import RULES
from tasks.operations.run_names import day_of_run, run_name, steps_of

DEPLOYMENTS = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]


def called(what: str, default: Any = None, **parameters: Any) -> str:
    """Return the name of a run with these parameters."""

    def named(
        start: date | None = None, end: date | None = None, years: int | None = None, version: int | None = None,
        to: list[str] | None = None, source: str | None = None, as_of: date | None = None, adopt: bool = False,
    ) -> str:  # fmt: skip
        return str(runtime.flow_run.name)

    return str(flow(name="named", flow_run_name=run_name(what, default))(named)(**parameters))


def today() -> str:
    return str(date.today())


def test_a_run_is_called_what_it_does_and_as_of_when(environment: Any, prefect_api: None) -> None:
    assert called("collect", source_to_collect) == f"collect sample as of {today()}"
    assert called("train", source_to_learn_from, as_of=date(2024, 1, 1)) == "train sample as of 2024-01-01"
    assert called("train", source_to_learn_from, source="imdb") == f"train imdb as of {today()}"
    assert called("collect imdb") == f"collect imdb as of {today()}"
    span = {"start": date(2015, 1, 1), "end": date(2016, 12, 31)}
    assert called("collect", source_to_collect, **span).startswith("collect sample from 2015-01-01 until 2016-12-31 as")
    assert called("promote", version=7) == f"promote v7 as of {today()}"
    assert called("promote", adopt=True) == f"promote (adopt) as of {today()}"
    assert called("ship", to=["registry", "s3"]) == f"ship to registry, s3 as of {today()}"


def test_a_source_that_cannot_be_found_costs_the_name_no_more_than_that(environment: Any, prefect_api: None) -> None:
    def broken(_: Any) -> str:
        raise OSError("the store is away")

    assert called("train", broken) == f"train as of {today()}"


def test_every_flow_and_task_names_its_runs() -> None:
    assert all(found.flow_run_name for found in flows())
    for path in (PROJECT / "tasks").glob("*.py"):
        text = path.read_text()
        assert text.count("@task(") == text.count("task_run_name="), path


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint'].split(':')[1]}-{d['name']}")
def test_each_parameter_of_each_deployment_has_words_and_the_bounds_of_its_rule(deployment: dict[str, Any]) -> None:
    found = import_object(str(PROJECT / deployment["entrypoint"]))
    schema = parameter_schema(found).dict()
    Draft4Validator.check_schema(schema)  # as the server does, before it validates by a later draft
    assert set(schema["properties"]) == set(inspect.signature(found.fn).parameters)
    for name, told in schema["properties"].items():
        assert len(told["description"]) > 10, name
        rule = RULES.get(name)
        if rule and rule.bounds:
            assert rule.words in told["description"]
            kinds = [kind for kind in told.get("anyOf", [told]) if kind.get("type") != "null"]
            assert [rule.schema().items() <= kind.items() for kind in kinds] == [True], name
    assert validate(deployment["parameters"], schema) == []
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["version"]


def test_the_schema_refuses_what_the_check_refuses_as_far_as_json_can_say_it() -> None:
    for found in flows():
        schema = parameter_schema(found).dict()
        for name in set(schema["properties"]) & set(RULES):
            for value in RIGHT[name] if name != "source" else ["sample"]:
                if value != float("inf"):
                    assert not validate({name: str(value) if isinstance(value, date) else value}, schema), name
            for value in WRONG[name]:
                if not isinstance(value, date) and value == value:  # JSON has no NaN, and its Schema no earliest day
                    assert validate({name: value}, schema), (name, value)


@pytest.mark.parametrize("name", ["start", "end", "as_of"])
def test_the_server_which_looks_at_no_format_refuses_what_is_no_date(name: str) -> None:
    schema = parameter_schema(run_pipeline).dict()
    validate({name: "2026-11-25"}, schema, raise_on_error=True)
    for wrong in ("banana", "2026-13-01", "25.11.2026", "2026-11-25T00:00:00", ""):
        with pytest.raises(ValidationError, match=name):
            validate({name: wrong}, schema, raise_on_error=True)


def test_a_null_stands_for_the_default() -> None:
    for found in flows():
        schema = parameter_schema(found).dict()
        optional = [name for name, told in schema["properties"].items() if "anyOf" in told]
        assert validate(dict.fromkeys(optional), schema) == []


def test_a_step_of_a_late_run_is_of_the_day_of_that_run(prefect_api: None) -> None:
    @flow(name="inner", flow_run_name=run_name("inner"))
    def inner() -> tuple[date, str]:
        return day_of_run(), runtime.flow_run.name

    @flow(name="outer")
    def outer() -> tuple[tuple[date, str], date]:
        with steps_of(date(2026, 9, 2)):
            done = inner()
        return done, day_of_run()

    assert outer() == ((date(2026, 9, 2), "inner as of 2026-09-02"), datetime.now(UTC).date())
