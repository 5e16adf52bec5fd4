"""Remember what was predicted, beside the requests: a slow or broken database never slows or fails an answer.

A bounded queue and one thread, which writes what gathers within a moment at once: a commit for each prediction would
cost more than the prediction. What does not fit any more is dropped and counted (`premiere_records`).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from prometheus_client import Counter
from pydantic_core import to_json

from serving.schema import Prediction
from serving.tables import FEEDBACK, METADATA, PREDICTIONS

ROOM, AT_ONCE = 10_000, 500
MOMENT = 0.25  # seconds
PAUSES = (0.5, 2.0, 8.0)  # seconds between tries
RECORDS = Counter("premiere_records", "Predictions and feedback by what became of their record", ["outcome"])
Row = tuple[sa.Table, dict[str, Any]]


class Recorder:
    """Writes rows to a database from a thread of its own."""

    def __init__(self, url: str, room: int = ROOM) -> None:
        self._queue: queue.Queue[Row] = queue.Queue(room)
        timeout = {"timeout": 5} if url.startswith("sqlite") else {"connect_timeout": 5}
        self._engine = sa.create_engine(url, connect_args=timeout, pool_pre_ping=True)
        self._ready = False
        threading.Thread(target=self._work, name="recorder", daemon=True).start()

    def predicted(self, route: str, movies: Iterable[dict[str, Any]], answers: Iterable[Prediction]) -> None:
        """Remember answers and the raw movies that they are of."""
        at = datetime.now(UTC)
        for movie, answer in zip(movies, answers, strict=True):
            model = answer.model
            row = {"id": answer.id, "at": at, "route": route, "model": model.name, "version": model.version}
            row |= {"sha256": model.sha256, "rating": answer.rating, "low": answer.low, "high": answer.high}
            # As text: what waits is small then, whatever was sent.
            known = {key: value for key, value in movie.items() if value not in (None, [], "")}
            self._put((PREDICTIONS, row | {"level": answer.level, "movie": to_json(known).decode()}))

    def voted(self, prediction: str, rating: float) -> bool:
        """Remember an actual rating; return whether there was room for it."""
        return self._put((FEEDBACK, {"prediction": prediction, "at": datetime.now(UTC), "rating": rating}))

    def _put(self, row: Row) -> bool:
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            RECORDS.labels("dropped").inc()
            return False
        return True

    def _work(self) -> None:
        while True:
            rows = [self._queue.get()]
            if self._queue.qsize() < AT_ONCE:
                time.sleep(MOMENT)
            while len(rows) < AT_ONCE and not self._queue.empty():
                rows.append(self._queue.get_nowait())
            RECORDS.labels("kept" if self._write(rows) else "lost").inc(len(rows))
            for _ in rows:
                self._queue.task_done()

    def _write(self, rows: list[Row]) -> bool:
        for pause in (*PAUSES, None):
            try:
                with self._engine.begin() as connection:
                    if not self._ready:
                        METADATA.create_all(connection)
                        self._ready = True
                    for table in (PREDICTIONS, FEEDBACK):
                        values = [row for at, row in rows if at is table]
                        if values:
                            connection.execute(table.insert(), values)
                return True
            except sa.exc.SQLAlchemyError as error:
                if pause is None:
                    logging.getLogger("premiere").error("records are lost: %s", type(error).__name__)
                else:
                    time.sleep(pause)
        return False

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all that was put is written or lost, so many seconds at most."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)
