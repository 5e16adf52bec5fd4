"""What goes into the registry beside a model for people to read: plots, and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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
from models.feature_table import Rows
from models.judging import Judgement, comparison
from models.movie import LEVEL
from models.questions import RECORD
from models.reasons import EXPECTED
from tasks.learning.tuning import Tuned

DESCRIPTION = 5_000  # characters that MLflow keeps of one

CONFIDENCES = [float(share) for share in np.linspace(0.1, 0.95, 18)]
EXPLAINED = 200  # movies whose reasons are averaged


class Report(NamedTuple):
    """What is written down of a training beside its models; tables are rows by column."""

    params: dict[str, Any]
    metrics: dict[str, float]
    trials: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    card: str  # Markdown
    summary: str  # of the card, as long as MLflow keeps a description
    plots: dict[str, Figure]  # by file name


def write_report(
    model: RatingModel,
    asked: Mapping[str, Rows],
    holdout: pd.DataFrame,
    recipe: Tuned,
    judgement: Judgement,
    tags: dict[str, str],
) -> Report:
    """Return all that is registered beside a model; `asked` is the hold-out as the model takes it."""
    params = {"family": recipe.family, **recipe.params, "linear_share": recipe.linear_share, "seed": tags["seed"]}
    metrics = judgement.figures | {"tuning_rmse": recipe.rmse}
    card = model_card(tags, params, comparison(metrics, recipe.family), metrics, judgement.segments)
    return Report(
        params,
        metrics,
        recipe.trials,
        judgement.segments,
        card,
        shortened(card, DESCRIPTION, "the run's model_card.md"),
        plots(model, asked[RECORD], holdout, recipe.trials),
    )


def plots(model: RatingModel, rows: Rows, holdout: pd.DataFrame, trials: list[dict[str, Any]]) -> dict[str, Figure]:
    """Return the figures of a judged model by file name; `rows` are the hold-out's whole records as it takes them."""
    actual = holdout["vote_average"].to_numpy(dtype=float)
    rating, ends = model.predict_intervals(rows, [*CONFIDENCES, LEVEL])
    low, high = ends[LEVEL]
    figures = {}

    figures["predicted_against_actual.png"], axes = _axes("predicted rating", "actual rating")
    axes.errorbar(rating, actual, xerr=[rating - low, high - rating], fmt="o", ms=3, lw=0.3, alpha=0.6)
    axes.plot([2, 9], [2, 9], "k--", lw=0.8)

    figures["residuals_over_time.png"], axes = _axes("release date", "actual minus predicted")
    axes.scatter(holdout["release_date"], actual - rating, s=8, alpha=0.6)
    axes.axhline(0, color="k", lw=0.8)
    axes.tick_params(axis="x", rotation=30)

    covered = [float(np.mean((actual >= ends[share][0]) & (actual <= ends[share][1]))) for share in CONFIDENCES]
    figures["coverage.png"], axes = _axes("stated confidence", "share of hold-out ratings inside")
    axes.plot(CONFIDENCES, covered, "o-", ms=3)
    axes.plot([0, 1], [0, 1], "k--", lw=0.8)

    weights = importance(model, rows, holdout).head(20)[::-1]
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


def importance(model: RatingModel, rows: Rows, movies: pd.DataFrame) -> pd.Series:
    """Return the mean absolute contribution of each raw field over some movies, in rating points, largest first."""
    few = Rows(rows.table[:EXPLAINED], rows.texts[:EXPLAINED])
    explained = model.explain_each(list(iterate(movies.head(EXPLAINED))), few)
    shares = pd.DataFrame([{reason.field: reason.points for reason in reasons} for _, reasons in explained])
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
            "## Segments",
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
