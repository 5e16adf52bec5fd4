from __future__ import annotations

from datetime import date
from typing import Any

from tasks.data.gaps import find_gaps
from tasks.data.partitions import Partition


def partition(day: str, start: str, end: str, **facts: Any) -> Partition:
    known: dict[str, Any] = {"rows": 1, "expected": 1, "requests": 1, "sha256": "", "slice": f"{start}_{end}"} | facts
    dates = {"logical_date": day, "start": start, "end": end}
    return Partition(source="tmdb", **{k: date.fromisoformat(v) for k, v in dates.items()}, **known)  # type: ignore[arg-type]


def test_release_dates_between_windows_are_missing() -> None:
    read = [partition("2026-01-01", "2020-01-01", "2020-12-31"), partition("2026-01-01", "2022-01-01", "2022-12-31")]
    report = find_gaps("tmdb", read, date(2026, 1, 1))
    assert report.missing_release_dates == [(date(2021, 1, 1), date(2021, 12, 31))]
    assert "2021-01-01 to 2021-12-31" in report.markdown()


def test_days_without_a_run_are_missing_until_their_changes_are_read() -> None:
    read = [partition("2026-01-01", "2020-01-01", "2020-12-31"), partition("2026-01-05", "2020-01-01", "2020-12-31")]
    report = find_gaps("tmdb", read, date(2026, 1, 6))
    assert report.days_without_run == [(date(2026, 1, 2), date(2026, 1, 4)), (date(2026, 1, 6), date(2026, 1, 6))]
    caught = partition("2026-01-05", "2026-01-01", "2026-01-03", slice="changes_2026-01-01_2026-01-03")
    report = find_gaps("tmdb", [*read, caught], date(2026, 1, 5))
    assert report.days_not_caught_up == [(date(2026, 1, 4), date(2026, 1, 4))]


def test_a_later_reading_mends_an_earlier_one() -> None:
    short = partition("2026-01-01", "2020-01-01", "2020-12-31", expected=3, gone=[7])
    assert find_gaps("tmdb", [short], date(2026, 1, 1)).incomplete == [short]
    whole = partition("2026-01-02", "2020-01-01", "2020-12-31", refused={"9": "movie 9: title: missing"})
    report = find_gaps("tmdb", [short, whole], date(2026, 1, 2))
    assert (report.incomplete, report.gone) == ([], set())
    assert report.refused == {"title: missing": 1}


def test_nothing_collected_is_a_report_too() -> None:
    assert "Records read: 0" in find_gaps("tmdb", [], date(2026, 1, 1)).markdown()
