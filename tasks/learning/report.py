"""What goes into the registry beside a model for people to read: plots, and a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is needed, and none may be there

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.estimator import RatingModel
from models.evaluation import MIN_VOTES, paired_bootstrap
from models.facts import iterate
from models.reasons import EXPECTED

LEVELS = np.linspace(0.1, 0.95, 18)


def plots(model: RatingModel, holdout: pd.DataFrame, trials: list[dict[str, Any]]) -> dict[str, Figure]:
    """Return the figures of a judged model by file name."""
    actual = holdout["vote_average"].to_numpy(dtype=float)
    rating, low, high = model.predict_interval(holdout)
    figures = {}

    figures["predicted_against_actual.png"], axes = _axes("predicted rating", "actual rating")
    axes.errorbar(rating, actual, xerr=[rating - low, high - rating], fmt="o", ms=3, lw=0.3, alpha=0.6)
    axes.plot([2, 9], [2, 9], "k--", lw=0.8)

    figures["residuals_over_time.png"], axes = _axes("release date", "actual minus predicted")
    axes.scatter(holdout["release_date"], actual - rating, s=8, alpha=0.6)
    axes.axhline(0, color="k", lw=0.8)
    axes.tick_params(axis="x", rotation=30)

    covered = []
    for level in LEVELS:
        _, below, above = model.predict_interval(holdout, float(level))
        covered.append(float(np.mean((actual >= below) & (actual <= above))))
    figures["coverage.png"], axes = _axes("stated level", "share of hold-out ratings inside")
    axes.plot(LEVELS, covered, "o-", ms=3)
    axes.plot([0, 1], [0, 1], "k--", lw=0.8)

    weights = importance(model, holdout).head(20)[::-1]
    figures["importance.png"], axes = _axes("mean absolute contribution, rating points", "")
    axes.barh(weights.index, weights)

    errors = [trial["rmse"] for trial in trials]
    figures["tuning.png"], axes = _axes("trial", "walk-forward RMSE")
    axes.plot(errors, "o", ms=3, alpha=0.6)
    axes.plot(np.minimum.accumulate(errors))
    for figure in figures.values():
        figure.tight_layout()
    return figures


def verdict_plot(
    actual: NDArray[np.float64], challenger: NDArray[np.float64], champion: NDArray[np.float64] | None
) -> Figure:
    """Return the resampled difference in error that a verdict rests on; of a first model, its errors."""
    figure, axes = _axes("RMSE of the challenger minus the champion's, resampled", "resamplings")
    if champion is None:
        axes.set(xlabel="actual minus predicted rating", ylabel="movies")
        axes.hist(actual - challenger, bins=30)
    else:
        axes.hist(paired_bootstrap(actual, champion, challenger), bins=40)
    axes.axvline(0, color="k", lw=0.8)
    figure.tight_layout()
    return figure


def importance(model: RatingModel, movies: pd.DataFrame, most: int = 200) -> pd.Series:
    """Return the mean absolute contribution of each raw field over some movies, in rating points, largest first."""
    rows = list(iterate(movies.head(most)))
    shares = pd.DataFrame([{reason.field: reason.points for reason in model.explain(row)[1]} for row in rows])
    return shares.abs().mean().sort_values(ascending=False).rename({EXPECTED: "level of its kind"})


def model_card(
    tags: dict[str, str],
    params: dict[str, Any],
    table: list[dict[str, Any]],
    figures: dict[str, float],
    parts: list[dict[str, Any]],
) -> str:
    """Return the model card in Markdown."""
    synthetic = "**Synthetic**: learned from the sample catalogue, of use for trying the system only.\n\n"
    return "\n".join(
        [
            f"# Movie rating before the premiere, as of {tags['as_of']}",
            "",
            synthetic if tags["synthetic"] == "true" else "",
            "**What it predicts**: the mean vote that a movie will get from TMDB's users (or IMDb's, by source), "
            "0 to 10, from facts known before its release, with an interval that should hold it in 90 % of cases.",
            "",
            f"**Learned from**: {tags['movies']} movies of {tags['source']}, fingerprint `{tags['data']}`; code "
            f"`{tags['code']}`, commit `{tags['commit']}`, seed {tags['seed']}.",
            "",
            f"**Two fits of one recipe**: `judged` learned up to {tags['judged_until']}, and the figures below are its "
            "own on the twelve months after; `model`, which ships, learned from everything.",
            "",
            f"**Judged on** {figures['holdout_movies']:.0f} movies with {MIN_VOTES} votes or more. RMSE "
            f"{figures['holdout_rmse']:.3f} (95 %: {figures['holdout_rmse_low']:.3f} to "
            f"{figures['holdout_rmse_high']:.3f}); "
            f"90 % intervals held {figures['holdout_coverage_90']:.1%}, {figures['holdout_width_90']:.2f} wide.",
            "",
            _markdown(table),
            "## Slices",
            "",
            _markdown(parts),
            "## Recipe",
            "",
            _markdown([{"parameter": name, "value": value} for name, value in params.items()]),
            "## Limits",
            "",
            "It has seen movies that people voted on; of obscure ones it knows little. A rating is the mean of those "
            "who chose to vote, not a measure of worth. It knows nothing of campaigns, reviews or the year's mood. "
            "Budgets are unknown for two movies of three. Who has no earlier movie is taken as average.",
        ]
    )


def shortened(card: str, most: int, whole: str) -> str:
    """Return a text of at most `most` characters: whole lines of it, and where the whole of it is."""
    if len(card) <= most:
        return card
    end = f"\n\n… the rest stands in {whole}"
    return card[: most - len(end) + 1].rpartition("\n")[0] + end


def save(figures: dict[str, Figure], folder: Path) -> None:
    """Write figures as files and close them."""
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110)
        plt.close(figure)


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(figsize=(7, 5))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _markdown(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        values = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append("| " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"
