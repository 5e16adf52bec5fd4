from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from settings import PROJECT
from tasks.command_line import run_from_shell


class FakeFlow:
    """Only what the command line needs of a flow: its function, and to be called."""

    @staticmethod
    def fn(
        start: date | None = None, trials: int = 3, ship_to: list[str] | None = None, approve: bool = False
    ) -> dict[str, Any]:
        """Do a thing.

        start: the first day.
        """
        return {"start": start, "trials": trials, "ship_to": ship_to, "approve": approve}

    def __call__(self, **options: Any) -> dict[str, Any]:
        return self.fn(**options)


def test_options_are_the_parameters_with_their_types() -> None:
    argv = "--start 2020-02-03 --trials 5 --ship-to a b --approve yes".split()
    assert run_from_shell(FakeFlow(), argv) == {  # type: ignore[arg-type]
        "start": date(2020, 2, 3),
        "trials": 5,
        "ship_to": ["a", "b"],
        "approve": True,
    }
    assert run_from_shell(FakeFlow(), [])["trials"] == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["--start 2020-13-01", "--trials x", "--approve maybe", "--unknown 1"])
def test_bad_options_are_named(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_from_shell(FakeFlow(), bad.split())  # type: ignore[arg-type]
    assert bad.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("flows.collect", ["--start", "--end", "--min-votes", "--source"]),
        ("flows.train", ["--trials", "--as-of", "--source", "--seed"]),
        ("flows.promote", ["--version"]),
        ("flows.pipeline", ["--start", "--trials", "--as-of"]),
    ],
)
def test_every_flow_has_help(module: str, options: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(option in done.stdout for option in options)
