from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skops import io as skops_io

from models import trees
from models.estimator import FAMILIES, TRUSTED_TYPES, RatingModel
from models.evaluation import baselines, metrics, split_by_release
from models.facts import iterate, written
from models.feature_table import Learned
from models.folds import MOST_TREES, Fold, learnable, trees_needed
from models.movie import INPUTS
from models.reasons import Reason
from models.trees import predict_trees
from sample.generator import NOISE


@pytest.fixture(scope="module")
def split(rated: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return split_by_release(rated, rated["release_date"].max() + pd.Timedelta(days=1))


@pytest.fixture(scope="module")
def model(split: tuple[pd.DataFrame, pd.DataFrame]) -> RatingModel:
    return RatingModel("xgboost").fit(split[0])


def test_the_model_comes_near_the_smallest_error_that_is_possible(rated: pd.DataFrame) -> None:
    """Two years are judged, so that chance moves the error by a few hundredths only. Below the noise is a leak."""
    end = rated["release_date"].max()
    train, test = (rated[rated["release_date"] < end - pd.Timedelta(days=730)], rated[-1:])
    test = rated[rated["release_date"] >= end - pd.Timedelta(days=730)].reset_index(drop=True)
    predicted = RatingModel("xgboost").fit(train.reset_index(drop=True)).predict(test)
    rmse = metrics(test["vote_average"], predicted)["rmse"]
    genre = metrics(test["vote_average"], baselines(train, test)["genre mean"])["rmse"]
    assert 0.9 * NOISE < rmse < 1.3 * NOISE
    assert rmse < 0.8 * genre


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_saved_without_pickle_and_comes_back_the_same(
    family: str, split: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    small = {"n_estimators": 20}
    model = RatingModel(family, small).fit(split[0])
    skops_io.dump(model, tmp_path / "model.skops")
    untrusted = set(skops_io.get_untrusted_types(file=tmp_path / "model.skops"))
    assert untrusted <= set(TRUSTED_TYPES)
    loaded = skops_io.load(tmp_path / "model.skops", trusted=TRUSTED_TYPES)
    for ours, theirs in zip(model.predict_interval(split[1]), loaded.predict_interval(split[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_same_data_and_seed_give_the_same_model(
    model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    again = RatingModel("xgboost").fit(split[0])
    np.testing.assert_allclose(again.predict(split[1]), model.predict(split[1]), atol=1e-6)


def test_frames_and_single_movies_get_the_same_rating(
    model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    single = [model.predict([movie])[0] for movie in iterate(split[1])]
    np.testing.assert_allclose(single, model.predict(split[1]), atol=1e-6)


def test_intervals_hold_about_their_share_and_stay_on_the_scale(
    model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    rating, low, high = model.predict_interval(split[1], 0.9)
    actual = split[1]["vote_average"]
    assert ((low <= rating) & (rating <= high)).all()
    assert (low >= 0).all()
    assert (high <= 10).all()
    assert np.mean((actual >= low) & (actual <= high)) == pytest.approx(0.9, abs=0.07)


def test_a_talented_director_raises_the_rating(model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """A direction that any model of movies must know: the best director of the past beats the worst."""
    train, test = split
    means = train.assign(name=[d[0]["name"] for d in train["directors"]]).groupby("name")["vote_average"]
    means = means.mean()[means.count() > 10]
    best = model.predict(test.assign(directors=[[means.idxmax()]] * len(test)))
    worst = model.predict(test.assign(directors=[[means.idxmin()]] * len(test)))
    assert (best > worst).mean() > 0.95


def test_few_votes_and_long_ago_weigh_little(rated: pd.DataFrame) -> None:
    at = pd.Timestamp("2025-01-01")
    movies = rated.head(3).assign(vote_count=[1e9, 20.0, 1e9], release_date=[at, at, at - pd.Timedelta(days=3652.5)])
    rows, weights = learnable(movies, at)
    assert weights == pytest.approx([1.0, 0.5, 0.5], abs=1e-3)
    assert len(rows) == 3  # so few movies that those with few votes must do


def test_an_unknown_family_is_refused_by_name(rated: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="'forest' is unknown"):
        RatingModel("forest").fit(rated)


@pytest.mark.parametrize("family", FAMILIES)
def test_reasons_add_up_to_the_prediction(family: str, split: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    model = RatingModel(family, {"n_estimators": 30}).fit(split[0])
    for movie in [*iterate(split[1].head(25)), {"title": "Only a title"}]:
        base, reasons = model.explain(movie)
        assert base + sum(reason.points for reason in reasons) == pytest.approx(model.predict([movie])[0], abs=1e-6)
        assert {reason.field for reason in reasons} <= {*INPUTS, "expected"}
        weights = [abs(reason.points) for reason in reasons]
        assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_reasons_of_many_movies_at_once_are_those_of_each_alone(
    family: str, split: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    model = RatingModel(family, {"n_estimators": 30}).fit(split[0])
    many = [*iterate(split[0].sample(40, random_state=1)), {"title": "Only a title"}, *iterate(split[1].head(10))]
    many.append({"title": "Of a time when too little was known", "release_date": "1930-01-01", "runtime": 90})
    for movie, (base, reasons) in zip(many, model.explain_each(many), strict=True):
        alone, expected = model.explain(movie)
        assert base == pytest.approx(alone, abs=1e-9)
        points = {reason.field: reason.points for reason in reasons}
        assert points == pytest.approx({reason.field: reason.points for reason in expected}, abs=1e-9)
        assert {replace(reason, points=0.0) for reason in reasons} == {replace(one, points=0.0) for one in expected}
    assert model.explain_each([]) == []


def test_reasons_say_what_was_known(model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    movie = next(iterate(split[1]))
    words = {reason.field: reason.words for reason in model.explain(movie)[1]}
    name = movie["directors"][0]["name"]
    earlier = split[0][[any(d["name"] == name for d in directors) for directors in split[0]["directors"]]]
    assert f"{name}: mean of {len(earlier)} earlier movies {earlier['vote_average'].mean():.1f}" in words["directors"]
    unknown = {reason.field: reason.words for reason in model.explain({"title": "x", "directors": ["New"]})[1]}
    assert unknown["directors"] == "directors New: no earlier movie known"
    assert unknown["runtime"] == "runtime unknown"


def test_reasons_are_data_and_words_render_them(model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    movie = next(m for m in iterate(split[1]) if len(m["cast"]) > 3)
    told = {reason.field: reason for reason in model.explain(movie)[1]}
    cast = told["cast"]
    assert (cast.kind, cast.name) == ("person", movie["cast"][0]["name"])
    assert [maker.name for maker in cast.others] == [person["name"] for person in movie["cast"][1:3]]
    assert cast.more == len(movie["cast"]) - 3
    for maker in (cast, *cast.others):
        earlier = split[0][[any(c["name"] == maker.name for c in people) for people in split[0]["cast"]]]
        mean = earlier["vote_average"].mean() if len(earlier) else None
        assert (maker.movies, maker.mean) == (len(earlier), mean and pytest.approx(mean))
    assert cast.words.endswith(f" and {cast.more} more")
    assert told["production_companies"].kind == "company"
    assert told["expected"].kind == "kind"
    question = {"title": "x", "directors": ["New"], "runtime": 135.0, "genres": ["Drama", "Romance"]}
    question |= {"belongs_to_collection": "None of it known"}
    told = {reason.field: reason for reason in model.explain(question)[1]}
    new = Reason("directors", "person", told["directors"].points, "New", 0, None)
    assert told["directors"] == new
    assert [(told[f].kind, told[f].name) for f in ("runtime", "genres")] == [
        ("value", "135"),
        ("value", "Drama, Romance"),
    ]
    assert told["belongs_to_collection"].kind == "collection"
    nothing = told["budget"]
    assert nothing == Reason("budget", "unknown", nothing.points)
    assert nothing.words == "budget unknown"


def test_the_nearest_known_movies_resemble_it(model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    movie = next(m for m in iterate(split[1]) if m["original_language"] == "ko")
    near = model.similar(movie)
    assert len(near) == 5
    assert [n.likeness for n in near] == sorted((n.likeness for n in near), reverse=True)
    train = split[0]
    for neighbour in near:
        same = train[(train["title"] == neighbour.title) & (train["release_date"].dt.year == neighbour.year)]
        assert neighbour.rating in set(same["vote_average"])
    keys = train["title"] + train["release_date"].dt.year.astype(str)
    languages = [set(train[keys == f"{n.title}{n.year}"]["original_language"]) for n in near]
    assert sum("ko" in spoken for spoken in languages) >= 4


@pytest.mark.parametrize("how", ["gone", "wrong"])
@pytest.mark.parametrize("family", ["xgboost", "lightgbm", "random_forest"])
def test_a_fast_way_that_a_library_broke_is_replaced_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, family: str, how: str
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    fitted = RatingModel(family).learner().set_params(n_estimators=5).fit(X, X[:, 0])
    kind = {"xgboost": trees.XGBoostRow, "lightgbm": trees.LightGBMRow, "random_forest": trees.Forest}[family]
    if how == "wrong":
        monkeypatch.setattr(kind, "predict", lambda self, table: np.full(len(table), 99.0))
    else:
        monkeypatch.setattr(kind, "__init__", lambda self, trees: trees.was_renamed)
    before = trees.FALLBACKS.total()
    for row in (X[:1], X[1:2]):
        assert predict_trees(fitted, row)[0] == pytest.approx(fitted.predict(row)[0], abs=1e-6)
    assert trees.FALLBACKS.total() == before + 1
    assert "is asked the slow way" in caplog.text


def test_early_stopping_takes_fewer_trees_where_there_is_nothing_to_learn() -> None:
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(600, 5)), rng.normal(size=600)
    signal = 3 * X[:, 0] + X[:, 1] * X[:, 2]

    def fold(y: np.ndarray) -> Fold:
        learned, nothing = Learned(X[:400], [""] * 400, y[:400], np.ones(400)), np.zeros(200)
        return Fold(lambda: learned, y[400:], X[400:], nothing, {})

    for family in ("xgboost", "lightgbm"):
        learner = RatingModel(family).learner()
        needed = trees_needed(learner, [fold(signal), fold(signal + 0.1 * noise)])
        in_vain = trees_needed(learner, [fold(noise)])
        assert needed
        assert in_vain
        assert in_vain < 100 < needed <= MOST_TREES
    assert trees_needed(RatingModel("random_forest").learner(), [fold(signal)]) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fast_paths_give_what_the_libraries_give(family: str, split: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Trees without their wrappers, words without sparse algebra: the same to 1e-6 for one movie and for many."""
    model = RatingModel(family).fit(split[0])
    movies = [*iterate(split[1]), {"title": "x"}, {"title": "x", "overview": "Love love LOVE, don't; a b c. Émile!"}]
    table = model.features_.transform(movies)
    texts = [written(movie) for movie in movies]
    trees = model.trees_.predict(table)
    linear = model.linear_.ridge_.predict(model.linear_._design(table, texts))
    for n in range(len(movies)):
        assert predict_trees(model.trees_, table[n : n + 1])[0] == pytest.approx(trees[n], abs=1e-6)
        assert model.linear_.predict(table[n : n + 1], texts[n : n + 1])[0] == pytest.approx(linear[n], abs=1e-9)
    np.testing.assert_allclose(predict_trees(model.trees_, table), trees, atol=1e-6)
    np.testing.assert_allclose(model.linear_.predict(table, texts), linear, atol=1e-9)


def test_the_less_is_known_the_wider_the_interval_and_it_still_holds(rated: pd.DataFrame) -> None:
    end = rated["release_date"].max() - pd.Timedelta(days=730)
    model = RatingModel().fit(rated[rated["release_date"] < end].reset_index(drop=True))
    test = rated[rated["release_date"] >= end]
    actual = test["vote_average"].to_numpy()
    widths, finished = [], [{name: movie[name] for name in INPUTS} for movie in iterate(test)]
    for known in (INPUTS, ("title", "genres", "overview", "directors"), ("overview",), ("title",)):
        _, low, high = model.predict_interval([{name: movie[name] for name in known} for movie in finished])
        widths.append((high - low).mean())
        assert 0.84 < ((low <= actual) & (actual <= high)).mean() < 0.98, known
    assert widths[0] < widths[1] < widths[2]
    assert widths[0] < widths[3]


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_is_predicted_by_the_newest_fit_and_by_many_threads_at_once(family: str) -> None:
    rng = np.random.default_rng(5)
    table, ratings = rng.normal(size=(300, 6)), rng.normal(size=300)
    trees = RatingModel(family).learner().fit(table, ratings)
    before = predict_trees(trees, table[:1])
    trees.fit(table, ratings + 3)
    assert predict_trees(trees, table[:1])[0] == pytest.approx(trees.predict(table)[0], abs=1e-6)
    assert predict_trees(trees, table[:1]) - before == pytest.approx(3, abs=0.1)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: predict_trees(trees, table[n : n + 1])[0], [*range(300)] * 20))
    np.testing.assert_allclose(given, list(trees.predict(table)) * 20, atol=1e-6)


def test_a_compact_model_predicts_the_same_and_cannot_be_stored(
    model: RatingModel, split: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    movies = list(iterate(split[1]))[:50]
    compact = skops_io.loads(skops_io.dumps(model), trusted=TRUSTED_TYPES)
    compact.compact()
    np.testing.assert_array_equal(compact.predict_interval(movies), model.predict_interval(movies))
    assert compact.explain(movies[0]) == model.explain(movies[0])
    with pytest.raises(ValueError, match="store them before"):
        skops_io.dumps(compact)
