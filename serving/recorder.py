"""Remember what was predicted, beside the requests: a slow or broken database never slows or fails an answer.

A bounded queue and one thread, which writes what gathers within a moment at once: a commit for each prediction would
cost more than the prediction. What does not fit any more is dropped, what cannot be written is lost, and both are
counted (`premiere_records`); a row that is at fault costs no other. Feedback is rare, and its sender
waits to hear that it is kept: it is written at once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from prometheus_client import Counter
from pydantic_core import to_json

from serving.migrating import migrate
from serving.schema import Prediction
from serving.supervision import Supervised, place
from serving.tables import FEEDBACK, PREDICTIONS, connect

ROOM, AT_ONCE = 10_000, 500
MOMENT = 0.25  # seconds
PAUSES = (0.5, 2.0, 8.0)  # seconds between tries
ALONE_SECONDS = 30.0  # for the rows of a batch that failed, one by one
AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)  # the database is at fault, not a row
RECORDS = Counter("premiere_records", "Predictions and feedback by what became of their record", ["outcome"])
for outcome in ("kept", "dropped", "lost"):
    RECORDS.labels(outcome)  # at 0 from the start
log = logging.getLogger("premiere")


class Recorder:
    """Writes rows to a database from a thread of its own."""

    def __init__(self, url: str, room: int = ROOM) -> None:
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(room)
        self._waiting: set[str] = set()  # the ids of predictions in the queue, or being written
        self._engine = connect(url)
        self._ready = False
        self._lock = threading.RLock()  # two at once would make a table twice, or keep two ratings of one movie
        self.thread = Supervised("recorder", self._work)
        self.thread.start()

    def predicted(self, route: str, movies: Iterable[dict[str, Any]], answers: Iterable[Prediction]) -> None:
        """Remember answers and the raw movies that they are of."""
        at = datetime.now(UTC)
        for movie, answer in zip(movies, answers, strict=True):
            model = answer.model
            row = {"id": answer.id, "at": at, "route": route, "model": model.name, "version": model.version}
            row |= {"sha256": model.sha256, "rating": answer.rating, "low": answer.low, "high": answer.high}
            # As text: what waits is small then, whatever was sent.
            known = {key: value for key, value in movie.items() if value not in (None, [], "")}
            try:
                text = to_json(known).decode()
            except ValueError:  # a half character, say: the answer is good all the same
                RECORDS.labels("lost").inc()
                continue
            self._put(row | {"level": answer.confidence, "movie": text})

    def voted(self, prediction: str, rating: float) -> bool:
        """Keep an actual rating, in place of an earlier one; return False where no prediction has this id.

        Raises what SQLAlchemy raises where the database is at fault; what was kept before stays then.
        """
        waiting = prediction in self._waiting  # first: what waits no more is in the database, if it is anywhere
        same = FEEDBACK.c.prediction == prediction
        try:
            with self._lock, self._begin() as connection:
                # Locked, where the database locks rows: another service's word on it comes after this one.
                known = sa.select(PREDICTIONS.c.id).where(PREDICTIONS.c.id == prediction).with_for_update()
                if not (connection.execute(known).first() or waiting):
                    return False
                connection.execute(FEEDBACK.delete().where(same))
                vote = {"prediction": prediction, "at": datetime.now(UTC), "rating": rating}
                connection.execute(FEEDBACK.insert(), vote)
        except sa.exc.SQLAlchemyError:
            RECORDS.labels("lost").inc()
            raise
        RECORDS.labels("kept").inc()
        return True

    def _put(self, row: dict[str, Any]) -> None:
        self._waiting.add(row["id"])
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self._waiting.discard(row["id"])
            RECORDS.labels("dropped").inc()

    def _work(self) -> None:
        while True:
            self._batch()

    def _batch(self) -> None:
        rows, kept = [self._queue.get()], 0
        try:
            if self._queue.qsize() < AT_ONCE:
                time.sleep(MOMENT)
            while len(rows) < AT_ONCE and not self._queue.empty():
                rows.append(self._queue.get_nowait())
            kept = self._keep(rows)
        finally:
            RECORDS.labels("kept").inc(kept)
            RECORDS.labels("lost").inc(len(rows) - kept)
            for row in rows:
                self._waiting.discard(row["id"])
                self._queue.task_done()

    def _keep(self, rows: list[dict[str, Any]]) -> int:
        """Write rows together, or else each alone; return how many are kept."""
        for pause in (*PAUSES, None):
            try:
                self._write(rows)
                return len(rows)
            except Exception as error:
                why = place(error)
                if pause is None or not isinstance(error, AWAY):
                    break  # time does not mend it
            time.sleep(pause)
        kept, until = 0, time.monotonic() + ALONE_SECONDS
        for row in rows if len(rows) > 1 else []:
            try:
                self._write([row])
                kept += 1
            except Exception as error:
                why = place(error)
            if time.monotonic() > until:
                break
        if kept < len(rows):
            log.error("%d of %d records are lost: %s", len(rows) - kept, len(rows), why)
        return kept

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with self._begin() as connection:
            connection.execute(PREDICTIONS.insert(), rows)

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """Begin a transaction. The tables are made once, and looked for again after any failure."""
        with self._lock:
            if not self._ready:
                migrate(self._engine)
                self._ready = True
        try:
            with self._engine.begin() as connection:
                yield connection
        except BaseException:
            self._ready = False
            raise

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all that was put is written or lost, so many seconds at most."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)
