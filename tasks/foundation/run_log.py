"""The log of the present run, or the console's where nothing runs: a plain function need not know who calls it."""

from __future__ import annotations

import logging
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


def log() -> logging.Logger | logging.LoggerAdapter[Any]:
    """Return the logger of the flow or task run, which the UI shows too, or the one of the console."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect.premiere")
