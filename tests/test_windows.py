from __future__ import annotations

import itertools
from datetime import date, timedelta

import pytest

from tasks.data.windows import Window, cache_days, change_windows, one_day_further, release_windows, split

LOGICAL = date(2026, 6, 15)


def test_windows_cover_every_day_once() -> None:
    start, end = date(1994, 3, 10), date(2032, 2, 29)
    day = start
    for piece in release_windows(start, end, 20, LOGICAL):
        assert piece.start == day
        day = piece.end + timedelta(days=1)
    assert day == end + timedelta(days=1)


def test_movies_to_come_need_no_votes() -> None:
    for piece in release_windows(date(2020, 1, 1), date(2027, 12, 31), 20, LOGICAL):
        assert piece.min_votes == (20 if piece.end <= LOGICAL else 0)
        assert piece.end <= LOGICAL or piece.start > LOGICAL


def test_tomorrows_windows_are_todays_but_for_those_around_the_day() -> None:
    today = set(release_windows(date(1990, 1, 1), date(2027, 12, 31), 20, LOGICAL))
    tomorrow = set(release_windows(date(1990, 1, 1), date(2027, 12, 31), 20, LOGICAL + timedelta(days=1)))
    assert len(tomorrow - today) == 2


def test_a_window_is_cut_into_years_months_days() -> None:
    years = split(Window(date(2010, 1, 1), date(2019, 12, 31), 5))
    assert [(y.start.year, y.end, y.min_votes) for y in years][-1] == (2019, date(2019, 12, 31), 5)
    assert len(years) == 10
    months = split(Window(date(2024, 1, 1), date(2024, 12, 31)))
    assert (months[1].start, months[1].end) == (date(2024, 2, 1), date(2024, 2, 29))
    days = split(months[1])
    assert len(days) == 29
    assert split(days[0]) == []


def test_a_full_day_is_cut_by_genre_into_parts_that_hold_every_movie_once() -> None:
    day = Window(date(2024, 1, 1), date(2024, 1, 1))
    leaves, todo = [], [day]
    while todo:
        piece = todo.pop()
        parts = split(piece, [18, 35, 27])
        todo += parts
        leaves += [] if parts else [piece]
    for movie in (set(), {18}, {35}, {18, 35, 27}, {27, 99}):
        holding = [p for p in leaves if set(p.genres) <= movie and not set(p.without) & movie]
        assert len(holding) == 1
    assert len({p.name for p in leaves}) == 8
    assert leaves[0].query["without_genres"]


def test_changes_are_asked_for_in_ranges_of_14_days_without_a_hole() -> None:
    windows = change_windows(date(2026, 5, 1), LOGICAL)
    assert windows[0].start == date(2026, 5, 1)
    assert windows[-1].end == LOGICAL
    assert all((piece.end - piece.start).days < 14 for piece in windows)
    assert all(b.start - a.end == timedelta(days=1) for a, b in itertools.pairwise(windows))
    assert change_windows(LOGICAL + timedelta(days=1), LOGICAL) == []


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-06-01", "2026-06-15", 1),
        ("2026-06-16", "2026-06-30", 1),
        ("2026-03-01", "2026-03-31", 7),
        ("2025-01-01", "2025-12-31", 7),
        ("2024-01-01", "2024-12-31", 30),
        ("1990-01-01", "1999-12-31", 90),
    ],
)
def test_ratings_are_refreshed_less_often_as_movies_age(start: str, end: str, days: int) -> None:
    assert cache_days(date.fromisoformat(start), date.fromisoformat(end), LOGICAL) == days


def test_a_history_that_is_read_so_many_years_a_day_goes_further_back_each_day_and_ends() -> None:
    day, known, starts = date(2026, 11, 28), None, []
    for _ in range(6):
        known = one_day_further(day, 5, known)
        starts.append(known.year)
    assert starts == [2022, 2017, 2012, 2007, 2006, 2006]
    assert one_day_further(day, 5, date(1990, 1, 1)) == date(1990, 1, 1)  # what is known is kept up
