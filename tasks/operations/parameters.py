"""What a flow's parameters may be: one rule a name, which means the same in every flow.

Prefect sees to the types, and its server to the bounds of a deployment's run. Whatever makes no sense is told here,
before anything is asked of TMDB or written.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from prefect import runtime
from prefect.utilities.callables import parameter_docstrings

from models.movie import FIRST_DATE, LAST_DATE
from tasks.data.source import RatingsName
from tasks.release.targets.shipment import Target

DAY = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"  # Prefect's server looks at no `format`
FIRST_DAY = date(1900, 1, 1)  # before it nobody could have known enough movies to learn from
AHEAD = timedelta(days=731)
MOST_SEED = 2**31 - 1  # LightGBM's
F = TypeVar("F", bound=Callable[..., Any])


# A bound by its name in JSON Schema: how it is told, and when it holds, which is never so of NaN.
BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("{} or more", operator.ge),
    "exclusiveMinimum": ("more than {}", operator.gt),
    "maximum": ("at most {}", operator.le),
    "exclusiveMaximum": ("less than {}", operator.lt),
    "formatMinimum": ("{} or later", operator.ge),
    "formatMaximum": ("{} or earlier", operator.le),
    "minItems": ("{} or more", lambda items, least: len(items) >= least),
}


@dataclass(frozen=True)
class Rule:
    """What must hold of a value, and what to do where it does not.

    The check, its words, and the schema that Prefect's UI shows and its server holds runs to, all come from the bounds;
    `also` and `holds` say what they cannot.
    """

    remedy: str
    unit: str = ""
    bounds: dict[str, Any] = field(default_factory=dict)
    also: str = ""
    holds: Callable[[Any], bool] = lambda _: True

    @property
    def words(self) -> str:
        """What the value must do: be 0 or more, at most 1 (a share)."""
        told = [BOUNDS[name][0].format(bound) for name, bound in self.bounds.items()]
        return f"be {', '.join(filter(None, [*told, self.also]))}" + (f" ({self.unit})" if self.unit else "")

    def allows(self, value: Any) -> bool:
        """Say whether the rule holds of a value."""
        return all(BOUNDS[name][1](value, bound) for name, bound in self.bounds.items()) and self.holds(value)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Put the bounds into the schema of the type that the rule annotates; null stands for a default."""
        schema: dict[str, Any] = handler(core)
        for kind in schema.get("anyOf", [schema]):
            if kind.get("type") != "null":
                kind |= self.schema()
        return schema

    def schema(self) -> dict[str, Any]:
        """Return the bounds in words that mean the same in JSON Schema's draft 4 and later: Prefect reads both."""
        excluded = [bound for name, bound in self.bounds.items() if name.startswith("exclusive")]
        bounds = {name.replace("exclusiveM", "m"): bound for name, bound in self.bounds.items()}
        told = {name: str(bound) if isinstance(bound, date) else bound for name, bound in bounds.items()}
        if any(isinstance(bound, date) for bound in bounds.values()):
            told["pattern"] = DAY
        return told | ({"not": {"enum": excluded}} if excluded else {})


def _last_day() -> date:
    """The run's date and two years."""
    today: date = runtime.flow_run.scheduled_start_time.date()
    return today + AHEAD


_RELEASE = Rule(
    "name a day on which movies come out, the oldest film's year at the earliest",
    bounds={"formatMinimum": FIRST_DATE, "formatMaximum": LAST_DATE},
)
_TARGETS = Rule(
    "leave it out for the default",
    unit=", ".join(get_args(Target)),
    bounds={"minItems": 1},
    holds=lambda targets: set(targets) <= set(get_args(Target)),
)
_SOURCES = get_args(RatingsName)
_MARGIN = "0 allows nothing"
_NUMBER = "a number in the registry"
RULES: dict[str, Rule] = {
    "start": _RELEASE,
    "end": _RELEASE,
    "min_votes": Rule("0 takes every movie", "votes", {"minimum": 0}),
    "max_refused": Rule("0.05 is usual", "a share", {"minimum": 0, "maximum": 1}),
    "source": Rule(
        "leave it out to have it chosen", also=f"one of {', '.join(_SOURCES)}", holds=lambda name: name in _SOURCES
    ),
    "trials": Rule("60 is usual", "recipes", {"minimum": 1}),
    "as_of": Rule(
        "leave it out for the run's date",
        bounds={"formatMinimum": FIRST_DAY},
        also="no later than two years after the run's date",
        holds=lambda day: day <= _last_day(),
    ),
    "seed": Rule("0 is usual", bounds={"minimum": 0, "maximum": MOST_SEED}),
    "minutes": Rule("inf sets no limit", "minutes", {"minimum": 0}),
    "tune_every": Rule("7 is usual; 0 searches each time", "days", {"minimum": 0}),
    "history_a_day": Rule("leave it out to read all at once", "years of release dates", {"minimum": 1, "maximum": 150}),
    "version": Rule("leave it out for the challenger", _NUMBER, {"minimum": 1}),
    "ship_to": _TARGETS,
    "to": _TARGETS,
    "confidence": Rule("0.95 is usual", "a share", {"exclusiveMinimum": 0.5, "exclusiveMaximum": 1}),
    "segment_margin": Rule(_MARGIN, "rating points", {"minimum": 0, "maximum": 10}),
    "interval_margin": Rule(_MARGIN, "a share", {"minimum": 0, "maximum": 1}),
    "refresh_days": Rule("30 is usual", "days", {"minimum": 1}),
    "refresh_margin": Rule(_MARGIN, "rating points", {"exclusiveMinimum": 0, "maximum": 1}),
    "every": Rule("30 is usual", "days", {"minimum": 1}),
    "years": Rule("20 is usual", "years", {"minimum": 1, "maximum": 150}),
    "leave": Rule("leave it out for the champion", _NUMBER, {"minimum": 1}),
    "coverage_margin": Rule(_MARGIN, "a share", {"minimum": 0, "exclusiveMaximum": 0.5}),
    "latency_ms": Rule("250 is usual", "milliseconds", {"exclusiveMinimum": 0}),
}


def with_rules(function: F) -> F:
    """Add the rules to the types and the words of a flow's parameters: Prefect's UI and --help read them there.

    The docstring ends with its `Args:`, as Prefect reads it. Raises KeyError for a parameter that it does not explain.
    """
    text, hints = inspect.getdoc(function) or "", get_type_hints(function)
    words = parameter_docstrings(text)
    for name in [name for name in hints if name in RULES]:
        function.__annotations__[name] = Annotated[hints[name], RULES[name]]
        if RULES[name].bounds:  # the type has no words for them
            words[name] = f"{words[name].rstrip('.')}; must {RULES[name].words}."
    told = [f"    {name}: {' '.join(said.split())}" for name, said in words.items()]
    function.__doc__ = "\n".join([text.partition("Args:\n")[0] + "Args:", *told])
    return function


def check_parameters(**given: Any) -> None:
    """Raise ValueError, with name, rule and remedy, for each parameter that makes no sense; None stands for a default.

    What has no rule is free: a text, or true and false.
    """
    faults = [
        f"{name} is {value}: it must {RULES[name].words}; {RULES[name].remedy}"
        for name, value in given.items()
        if name in RULES and value is not None and not RULES[name].allows(value)
    ]
    start, end = given.get("start"), given.get("end")
    if start and end and start > end:
        faults.append(f"start is {start}, after end, which is {end}: it must be the earlier one; change places")
    if given.get("adopt") and given.get("restore"):
        faults.append("adopt and restore are both set: they exclude each other; choose one")
    if faults:
        raise ValueError(". ".join(faults))
