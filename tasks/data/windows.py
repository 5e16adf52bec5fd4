"""What is asked of TMDB: windows, each small enough for one query and read into one partition.

Pure: dates in, windows out. A window of release dates holds decades where few movies were made, years, months or days
where many were; a day that is still too full is cut by genre, into those with it and those without, so that the parts
hold every movie exactly once. Movies that are out need a number of votes; those still to come are taken as they are.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from models.movie import FIRST_DATE

WINDOW_MOVIES = 3_000  # movies; what a killed run has to read again at most: 75 seconds at 40 requests a second
ONE_DAY = timedelta(days=1)
CHANGES_DAYS = 14  # TMDB's widest range of changes
HISTORY_YEARS = 20  # of release dates: what people and companies did before is learned from


@dataclass(frozen=True)
class Window:
    """Release dates from `start` to `end`, both inclusive, with a floor of votes and, on the fullest days, genres."""

    start: date
    end: date
    min_votes: int = 0
    genres: tuple[int, ...] = ()
    without: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Identify the window among the partitions of a day."""
        parts = [f"{self.start}_{self.end}_votes{self.min_votes}"]
        parts += [f"with{'-'.join(map(str, self.genres))}"] if self.genres else []
        parts += [f"without{'-'.join(map(str, self.without))}"] if self.without else []
        return "_".join(parts)

    @property
    def path(self) -> str:
        """Where TMDB lists these movies."""
        return "/discover/movie"

    @property
    def query(self) -> dict[str, Any]:
        """The filters of `/discover/movie`, in an order that does not move while one reads."""
        query: dict[str, Any] = {
            "primary_release_date.gte": self.start.isoformat(),
            "primary_release_date.lte": self.end.isoformat(),
            "include_adult": "false",
            "include_video": "false",
            "sort_by": "primary_release_date.asc",
        }
        if self.min_votes:
            query["vote_count.gte"] = self.min_votes
        if self.genres:
            query["with_genres"] = ",".join(map(str, self.genres))
        if self.without:
            query["without_genres"] = ",".join(map(str, self.without))
        return query


@dataclass(frozen=True)
class Changes:
    """The movies that TMDB says were changed from `start` to `end`, both inclusive, of those that are known already."""

    start: date
    end: date

    @property
    def name(self) -> str:
        """Identify the changes among the partitions of a day."""
        return f"changes_{self.start}_{self.end}"

    @property
    def path(self) -> str:
        """Where TMDB lists these movies."""
        return "/movie/changes"

    @property
    def query(self) -> dict[str, Any]:
        """The days, both inclusive."""
        return {"start_date": str(self.start), "end_date": str(self.end)}


def first_release(logical_date: date, years: int = HISTORY_YEARS, known: date | None = None) -> date:
    """Return the first release date to read: so many whole years back, or as far back as something is `known`."""
    start = date(max(logical_date.year - years, FIRST_DATE.year), 1, 1)
    return min(start, known or start)


def one_day_further(logical_date: date, years: int, known: date | None) -> date:
    """Return the first release date of a day of a history that is read so many years a day, from what is `known`."""
    begun = (known or date(logical_date.year + 1, 1, 1)).year
    return max(first_release(logical_date, known=known), date(max(begun - years, FIRST_DATE.year), 1, 1))


def release_windows(start: date, end: date, min_votes: int, logical_date: date) -> list[Window]:
    """Cut release dates at the end of each decade and year and at `logical_date`, where the floor of votes ends.

    The decade of `logical_date` is cut into years and its year into months, so that tomorrow's windows are today's but
    for those around the day.
    """
    windows: list[Window] = []
    parts = ((start, min(end, logical_date), min_votes), (max(start, logical_date + ONE_DAY), end, 0))
    for first, last, floor in parts:
        day = first
        while day <= last:
            decade_end = min(date(day.year - day.year % 10 + 9, 12, 31), last)
            decade = Window(day, decade_end, floor)
            if day.year // 10 != logical_date.year // 10:
                windows.append(decade)
            else:
                for year in _years(decade):
                    windows += _months(year) if year.start.year == logical_date.year else [year]
            day = decade_end + ONE_DAY
    return windows


def split(piece: Window, genres: Sequence[int] = ()) -> list[Window]:
    """Cut a window into the next smaller ones: years, months, days, then with and without the next of `genres`.

    Returns [] where nothing is left to cut by.
    """
    if piece.start.year != piece.end.year:
        return _years(piece)
    if piece.start.month != piece.end.month:
        return _months(piece)
    if piece.start != piece.end:
        days = (piece.end - piece.start).days + 1
        return [replace(piece, start=day, end=day) for day in (piece.start + n * ONE_DAY for n in range(days))]
    left = [genre for genre in genres if genre not in piece.genres + piece.without]
    if not left:
        return []
    return [
        replace(piece, genres=(*piece.genres, left[0])),
        replace(piece, without=(*piece.without, left[0])),
    ]


def change_windows(since: date, logical_date: date) -> list[Changes]:
    """Return the changes from `since` to `logical_date`, both inclusive, in ranges that TMDB answers."""
    windows, day = [], since
    while day <= logical_date:
        last = min(day + (CHANGES_DAYS - 1) * ONE_DAY, logical_date)
        windows.append(Changes(day, last))
        day = last + ONE_DAY
    return windows


def days_of(piece: Changes) -> list[Changes]:
    """Return the changes of each day alone, for a range that holds more than one query can."""
    return [Changes(day, day) for day in (piece.start + n * ONE_DAY for n in range((piece.end - piece.start).days + 1))]


def cache_days(start: date, end: date, logical_date: date) -> int:
    """Return for how many days a reading of these release dates stays fresh: ratings settle as movies age."""
    if start <= logical_date <= end:
        return 1
    distance = min(abs((logical_date - day).days) for day in (start, end))
    return 1 if distance < 31 else 7 if distance < 180 else 30 if distance < 730 else 90


def _years(piece: Window) -> list[Window]:
    return [
        replace(piece, start=max(piece.start, date(year, 1, 1)), end=min(piece.end, date(year, 12, 31)))
        for year in range(piece.start.year, piece.end.year + 1)
    ]


def _months(piece: Window) -> list[Window]:
    year = piece.start.year
    return [
        replace(
            piece,
            start=max(piece.start, date(year, month, 1)),
            end=min(piece.end, date(year, month, calendar.monthrange(year, month)[1])),
        )
        for month in range(piece.start.month, piece.end.month + 1)
    ]
