from __future__ import annotations

from datetime import date, timedelta

import pytest

from tasks.catalogue import Partition
from tasks.collecting import cache_days, calendar_windows, split

LOGICAL = date(2026, 6, 15)


def test_windows_cover_every_day_once() -> None:
    start, end = date(2019, 3, 10), date(2028, 2, 29)
    windows = calendar_windows(start, end, 20, LOGICAL)
    day = start
    for first, last, _ in windows:
        assert first == day
        day = last + timedelta(days=1)
    assert day == end + timedelta(days=1)


def test_movies_to_come_need_no_votes() -> None:
    for first, last, votes in calendar_windows(date(2026, 1, 1), date(2026, 12, 31), 20, LOGICAL):
        assert votes == (20 if last <= LOGICAL else 0)
        assert last <= LOGICAL or first > LOGICAL


def test_tomorrows_windows_are_todays_but_for_the_days_around_it() -> None:
    today = set(calendar_windows(date(2020, 1, 1), date(2027, 12, 31), 20, LOGICAL))
    tomorrow = set(calendar_windows(date(2020, 1, 1), date(2027, 12, 31), 20, LOGICAL + timedelta(days=1)))
    assert len(tomorrow - today) == 2


def test_a_window_is_cut_into_months_and_a_month_into_days() -> None:
    months = split((date(2024, 1, 1), date(2024, 12, 31), 5))
    assert len(months) == 12
    assert months[1] == (date(2024, 2, 1), date(2024, 2, 29), 5)
    days = split(months[1])
    assert len(days) == 29
    assert days[-1] == (date(2024, 2, 29), date(2024, 2, 29), 5)
    assert split(days[0]) == []


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-06-01", "2026-06-15", 1),
        ("2026-06-16", "2026-06-30", 1),
        ("2026-03-01", "2026-03-31", 7),
        ("2025-01-01", "2025-12-31", 7),
        ("2024-01-01", "2024-12-31", 30),
        ("2010-01-01", "2010-12-31", 90),
    ],
)
def test_ratings_are_refreshed_less_often_as_movies_age(start: str, end: str, days: int) -> None:
    window = {"start": date.fromisoformat(start), "end": date.fromisoformat(end), "min_votes": 20}
    partition = Partition(
        source="tmdb",
        logical_date=LOGICAL,
        rows=1,
        expected=1,
        requests=1,
        sha256="",
        **window,  # type: ignore[arg-type]
    )
    assert cache_days(partition, LOGICAL) == days
