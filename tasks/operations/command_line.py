"""Run a flow from the shell with the parameters that it has as a function: `--name value`, `--help`."""

from __future__ import annotations

import argparse
import inspect
import logging
import re
import types
import typing
import warnings
from calendar import monthrange
from datetime import date
from typing import Any

from prefect import Flow
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.utilities.callables import parameter_docstrings

from tasks.foundation.prefect_server import wait_for_prefect

MONTH = re.compile(r"\d{4}-\d{2}")


def run_from_shell(flow: Flow[..., Any], argv: list[str] | None = None) -> Any:
    """Call `flow` with the options given on the command line and return its result."""
    _quiet_console()
    function = flow.fn
    text = inspect.getdoc(function) or ""
    parser = argparse.ArgumentParser(
        description=text.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    helps = parameter_docstrings(text)
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, choices, many = _kind(hints[name])
        if kind is _day and name == "end":
            kind = _last_day
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind if kind is not bool else _truth,
            choices=choices,
            nargs="*" if many else "?" if kind is bool else None,
            const=True if kind is bool else None,  # --adopt is --adopt true
            default=parameter.default,
            metavar=None if choices else kind.__name__.upper(),
            help=helps.get(name, ""),
        )
    options = vars(parser.parse_args(argv))
    wait_for_prefect()
    return flow(**options)


class _News(logging.Filter):
    """Pass what a person wants to read; the UI has the rest."""

    BOOKKEEPING = re.compile(
        r"^(Created (subflow|flow|task) run|Executing '|Finished in state Completed|Task run .* received)"
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.BOOKKEEPING.match(record.getMessage())


def _quiet_console() -> None:
    """Leave Prefect's book-keeping out of the terminal."""
    setup_logging()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_News())
    # Prefect's own migrations say this when they make its database.
    warnings.filterwarnings("ignore", message="Skipped unsupported reflection")


def _kind(hint: Any) -> tuple[Any, list[Any] | None, bool]:
    """Return the converter, the choices and whether several are taken, for a parameter's type."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    if typing.get_origin(hint) is list:
        kind, choices, _ = _kind(typing.get_args(hint)[0])
        return kind, choices, True
    if typing.get_origin(hint) is typing.Literal:
        return str, list(typing.get_args(hint)), False
    return (_day if hint is date else hint), None, False


def _day(text: str) -> date:
    """Read a date; a month alone is its first day."""
    try:
        return date.fromisoformat(f"{text}-01" if MONTH.fullmatch(text) else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2024-01-31 or a month like 2024-01") from None


def _last_day(text: str) -> date:
    """Read a date; a month alone is its last day."""
    day = _day(text)
    return day.replace(day=monthrange(day.year, day.month)[1]) if MONTH.fullmatch(text) else day


def _truth(text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
