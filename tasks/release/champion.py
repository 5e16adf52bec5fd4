"""What the champion says of a hold-out, and whether all of it is still there."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.foundation.run_log import log
from tasks.registry import versions as registry
from tasks.registry.scoring import score
from tasks.release import ledger


def scored_by_champion(holdout: pd.DataFrame, tags: dict[str, str]) -> NDArray[np.float64] | None:
    """Return the champion's ratings of a hold-out, if there is a champion of the same ratings that never saw it.

    One that cannot rate, as its files were lost or its code fails, is warned of: no training may end for want of a row.
    """
    champion = registry.current_champion()
    if champion is None:
        return None
    try:
        alike = all(champion.tags[name] == tags[name] for name in ("source", "synthetic"))
        if not alike or pd.Timestamp(champion.tags["judged_until"]) >= holdout["release_date"].min():
            return None
        return score(champion, "judged", holdout).ratings
    except (LookupError, RuntimeError) as error:
        log().warning("the champion %s is not compared with: %s", champion.label, error)
        return None


def what_champion_lacks() -> str:
    """Say what the registry lost of the champion, its alias, itself or its files, and what to do; "" for nothing."""
    champion, promoted = registry.current_champion(), ledger.champions(ledger.read())
    label, lost = champion.label if champion else "", ""
    if champion:
        try:
            for fit in ("judged", "model"):
                with tempfile.TemporaryDirectory() as folder:
                    registry.download(champion, fit, Path(folder))
        except (LookupError, RuntimeError) as error:
            lost = str(error)
    elif promoted:
        label, lost = f"v{promoted[-1]}", "the registry has no alias champion"
        with contextlib.suppress(LookupError):
            registry.find(str(promoted[-1]))
            lost += ", though it has the version"
    return lost and (
        f"{label} is champion, but not whole: {lost}. Restore the registry's database and files from a backup, set the "
        "alias back with python -m flows.promote --restore, or promote another version"
    )
