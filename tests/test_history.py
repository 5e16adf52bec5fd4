from __future__ import annotations

import numpy as np

from models.history import History, Level, Past


def history_of(events: list[tuple[str, int, float, float, float]]) -> History:
    keys, *columns = zip(*events, strict=True)
    return History(keys, *columns)


def test_nothing_is_no_history() -> None:
    assert History([], [], [], [], []).before("a", 1) is None


def test_a_past_counts_only_what_is_strictly_earlier() -> None:
    events = [("a", 10, 1.0, 1.0, 7.0), ("a", 20, 3.0, 0.5, 9.0), ("a", 30, -2.0, 1.0, 4.0), ("b", 10, 5.0, 1.0, 9.0)]
    history = history_of(events)
    assert history.before("a", 10) is None
    assert history.before("a", 11) == Past(1, 1.0, 1.0, 1.0, 1.0, 10, 7.0)
    assert history.before("a", 30) == Past(2, 1.5, 2.5, 3.0, 3.0, 20, 16.0)
    assert history.before("a", 99) == Past(3, 2.5, 0.5, 3.0, -2.0, 30, 20.0)
    assert history.before("nobody", 99) is None
    assert len(history) == 2


def test_the_order_of_events_does_not_matter() -> None:
    events = [("a", 20, 3.0, 1.0, 9.0), ("a", 10, 1.0, 1.0, 7.0), ("a", 20, -1.0, 1.0, 5.0)]
    assert history_of(events).before("a", 21) == history_of(events[::-1]).before("a", 21)


def test_the_level_is_the_mean_of_the_five_years_before() -> None:
    days = np.array([0, 365, 365 * 5, 365 * 6])
    level = Level(days, np.array([4.0, 6.0, 8.0, 10.0]))
    assert level.at(365 * 5) == 5.0  # days 0 and 365
    assert level.at(365 * 5 + 1) == 7.0  # day 0 has left the window
    assert level.at(365 * 6) == 7.0  # its own day is not before it
    assert level.at(365 * 30) == 8.0  # nothing for years: the five years before the newest
    assert level.at(0) == 6.3  # nothing earlier


def test_a_short_history_is_believed_less() -> None:
    assert Past(1, 1.0, 2.0, 2.0, 2.0, 10, 8.0).mean(shrinkage=3.0) == 0.5
    assert Past(9, 9.0, 18.0, 2.0, 2.0, 10, 63.0).mean(shrinkage=3.0) == 1.5
