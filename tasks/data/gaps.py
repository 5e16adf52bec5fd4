"""What is there, what is missing and what was refused: the gap report of a source, from its manifests alone."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta

from tasks.data.partitions import Partition

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class GapReport:
    """Days are inclusive ranges."""

    source: str
    movies_read: int
    release_dates: list[tuple[date, date]]
    missing_release_dates: list[tuple[date, date]]
    days_without_run: list[tuple[date, date]]
    days_not_caught_up: list[tuple[date, date]]
    incomplete: list[Partition]
    gone: set[int]
    refused: Counter[str] = field(default_factory=Counter)

    def markdown(self) -> str:
        """Return the report as a person reads it."""
        lines = [
            f"# Gap report of {self.source}",
            "",
            f"Records read: {self.movies_read}. Release dates covered: {_ranges(self.release_dates)}.",
            "",
            f"- **Release dates missing in between**: {_ranges(self.missing_release_dates)}",
            f"- **Days on which nothing ran**: {_ranges(self.days_without_run)}",
            f"- **Of those, changes not caught up**: {_ranges(self.days_not_caught_up)}",
            f"- **Windows that do not add up**: {len(self.incomplete)}",
            *(f"    - {p.slice} on {p.logical_date}: {p.rows} of {p.expected}" for p in self.incomplete[:50]),
            f"- **Ids that answer 404**: {len(self.gone)}",
            f"- **Refused movies**: {self.refused.total()}",
            *(f"    - {count} × {reason}" for reason, count in self.refused.most_common(20)),
        ]
        return "\n".join(lines)


def find_gaps(source: str, partitions: list[Partition], logical_date: date) -> GapReport:
    """Compare what the manifests say with what should be there on `logical_date`."""
    windows = [p for p in partitions if not p.slice.startswith("changes_")]
    changes = [p for p in partitions if p.slice.startswith("changes_")]
    covered = _merge([(p.start, p.end) for p in windows])
    ran = {p.logical_date for p in partitions}
    silent = _days(min(ran), logical_date) - ran if ran else set()
    caught_up = {day for p in changes for day in _days(p.start, p.end)}
    # A later reading of the same window mends an earlier one.
    latest = {p.slice: p for p in sorted(partitions, key=lambda p: p.logical_date)}.values()
    return GapReport(
        source=source,
        movies_read=sum(p.rows for p in latest),
        release_dates=covered,
        missing_release_dates=[(a[1] + ONE_DAY, b[0] - ONE_DAY) for a, b in itertools.pairwise(covered)],
        days_without_run=_merge([(day, day) for day in silent]),
        days_not_caught_up=_merge([(day, day) for day in silent - caught_up]),
        incomplete=[p for p in latest if not p.complete],
        gone={movie_id for p in latest for movie_id in p.gone},
        refused=Counter(reason.partition(": ")[2] for p in latest for reason in p.refused.values()),
    )


def _days(start: date, end: date) -> set[date]:
    return {start + n * ONE_DAY for n in range((end - start).days + 1)}


def _merge(ranges: list[tuple[date, date]]) -> list[tuple[date, date]]:
    """Join ranges that touch or overlap."""
    merged: list[tuple[date, date]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + ONE_DAY:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _ranges(ranges: list[tuple[date, date]]) -> str:
    """Write ranges in words."""
    shown = [str(start) if start == end else f"{start} to {end}" for start, end in ranges[:20]]
    more = f" and {len(ranges) - 20} more" if len(ranges) > 20 else ""
    return (", ".join(shown) + more) or "none"
