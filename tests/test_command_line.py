from __future__ import annotations

import importlib
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from settings import PROJECT
from tasks.operations.command_line import run_from_shell


class Span:
    """A flow of a span of days."""

    @staticmethod
    def fn(start: date | None = None, end: date | None = None) -> tuple[date | None, date | None]:
        """Do a thing."""
        return start, end

    def __call__(self, **options: Any) -> Any:
        return self.fn(**options)


class FakeFlow:
    """Only what the command line needs of a flow: its function, and to be called."""

    @staticmethod
    def fn(
        start: date | None = None, trials: int = 3, ship_to: list[str] | None = None, approve: bool = False
    ) -> dict[str, Any]:
        """Do a thing.

        Args:
            start: the first day.
        """
        return {"start": start, "trials": trials, "ship_to": ship_to, "approve": approve}

    def __call__(self, **options: Any) -> dict[str, Any]:
        return self.fn(**options)


def test_options_are_the_parameters_with_their_types(prefect_api: None) -> None:
    argv = "--start 2020-02-03 --trials 5 --ship-to a b --approve yes".split()
    assert run_from_shell(FakeFlow(), argv) == {  # type: ignore[arg-type]
        "start": date(2020, 2, 3),
        "trials": 5,
        "ship_to": ["a", "b"],
        "approve": True,
    }
    assert run_from_shell(FakeFlow(), [])["trials"] == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argv", "start", "end"),
    [
        ("--start 2019-01 --end 2024-02", date(2019, 1, 1), date(2024, 2, 29)),
        ("--start 2019-12 --end 2023-12", date(2019, 12, 1), date(2023, 12, 31)),
        ("--start 2019-01-15 --end 2023-12-01", date(2019, 1, 15), date(2023, 12, 1)),
    ],
)
def test_a_month_is_its_first_day_to_start_and_its_last_to_end(
    argv: str, start: date, end: date, prefect_api: None
) -> None:
    assert run_from_shell(Span(), argv.split()) == (start, end)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        ("--ship-to a b --approve", "ship_to", ["a", "b"]),  # as many as there are, up to the next option
        ("--approve --trials 5", "approve", True),
        ("--approve", "approve", True),
        ("--approve no", "approve", False),
        ("", "start", None),
        ("", "approve", False),
    ],
)
def test_lists_take_words_and_flags_need_none(argv: str, name: str, value: Any, prefect_api: None) -> None:
    assert run_from_shell(FakeFlow(), argv.split())[name] == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flow", "argv", "expected"),
    [
        ("promote.promote_model", "--ship-to bento registry", {"ship_to": ["bento", "registry"], "adopt": False}),
        ("promote.promote_model", "--adopt", {"adopt": True, "restore": False, "version": None, "ship_to": ["bento"]}),
        ("train.train_model", "--trials 60 --as-of 2024-01-01", {"trials": 60, "as_of": date(2024, 1, 1)}),
        ("collect.collect_movies", "--years 40", {"years": 40}),
        ("ship.ship_model", "--to registry", {"to": ["registry"]}),
        (
            "replay.replay_policy",
            "--start 2019-01 --end 2023-12 --every 30",
            {"start": date(2019, 1, 1), "end": date(2023, 12, 31), "every": 30, "trials": None},
        ),
    ],
)
def test_the_commands_of_the_documents_say_what_they_said(
    flow: str, argv: str, expected: dict[str, Any], prefect_api: None
) -> None:
    module, _, name = flow.partition(".")
    flow_function = getattr(importlib.import_module(f"flows.{module}"), name).fn
    given: dict[str, Any] = {}

    class Called:
        fn = staticmethod(flow_function)

        def __call__(self, **options: Any) -> None:
            given.update(options)

    run_from_shell(Called(), argv.split())  # type: ignore[arg-type]
    assert given.items() >= expected.items()


def test_a_target_that_there_is_none_of_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    from flows.promote import promote_model

    with pytest.raises(SystemExit):
        run_from_shell(promote_model, ["--ship-to", "bento", "moon"])
    said = capsys.readouterr().err
    assert "--ship-to" in said
    assert "'moon'" in said
    assert "registry" in said


@pytest.mark.parametrize(
    "bad", ["--start 2020-13-01", "--start 2020-13", "--trials x", "--approve maybe", "--unknown 1"]
)
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
        ("flows.replay", ["--start", "--end", "--every", "--trials"]),
    ],
)
def test_every_flow_has_help(module: str, options: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(option in done.stdout for option in options)


def start_flow(home: Path, **extra: str) -> subprocess.Popen[str]:
    """Start a flow from the shell without a server, with a Prefect of its own."""
    code = (
        "from prefect import flow\nfrom tasks.operations import command_line\n"
        "@flow\ndef double(n: int = 3) -> int:\n    return 2 * n\n"
        "print('answer', command_line.run_from_shell(double, []))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(home), **extra}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=home, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def run_flow(home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    process = start_flow(home, **extra)
    out, error = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def test_two_first_runs_at_once_wait_for_each_other(tmp_path: Path) -> None:
    both = [start_flow(tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=200) for process in both]
    assert [out.strip() for out, _ in said] == ["answer 6", "answer 6"], said
    assert sum(error.count("Making Prefect's database") for _, error in said) == 1


def test_the_first_run_says_that_it_makes_prefects_database_and_the_next_says_nothing(tmp_path: Path) -> None:
    first, second = run_flow(tmp_path), run_flow(tmp_path)
    assert "answer 6" in first.stdout
    assert "answer 6" in second.stdout
    assert first.stderr.count("Making Prefect's database") == 1
    assert "Prefect's database" not in second.stderr


def test_a_server_of_prefect_that_does_not_start_in_time_is_told_with_a_remedy(tmp_path: Path) -> None:
    done = run_flow(tmp_path, START_SECONDS="0.0001")
    assert done.returncode
    assert "TimeoutError: Prefect's own server did not start within" in done.stderr
    assert "START_SECONDS" in done.stderr
    assert "PREFECT_API_URL" in done.stderr
