"""Which failures may heal by themselves: the one retry condition of all tasks."""

from __future__ import annotations

from typing import Any


class Hopeless(Exception):
    """A failure that no further try mends: a person must."""


HOPELESS = Hopeless | FileNotFoundError | PermissionError | ValueError | LookupError


def worth_another_try(task: Any, task_run: Any, state: Any) -> bool:
    """Say whether a failed task may heal by itself: a refused token, a bad value or a damaged file does not."""
    return not isinstance(state.result(raise_on_failure=False), HOPELESS)


# How a task is tried again that asks somebody else; what needs more time says so beside it.
RETRIED: dict[str, Any] = {"retries": 2, "retry_delay_seconds": 10, "retry_condition_fn": worth_another_try}
