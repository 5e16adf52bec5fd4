"""The page at /ui in a real browser, with the real service behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from settings import PROJECT

GERWIG = {"kind": "person", "name": "Greta Gerwig", "movies": 3, "mean": 7.42}
REASONS: list[dict[str, Any]] = [  # one of each kind, with an English sentence that nobody may show
    {"field": "directors", "points": 0.31, **GERWIG, "others": [{"name": "New", "movies": 0, "mean": None}], "more": 2},
    {"field": "production_companies", "kind": "company", "name": "A24", "movies": 1, "mean": 7.0, "more": 1},
    {"field": "belongs_to_collection", "kind": "collection", "name": "Women", "movies": 0, "mean": None},
    {"field": "genres", "kind": "value", "name": "Drama, Romance", "points": -0.2, "more": 3},
    {"field": "runtime", "kind": "value", "name": "135"},
    {"field": "budget", "kind": "value", "name": "40000000.0"},
    {"field": "release_date", "kind": "value", "name": "2019-12-25 00:00:00"},
    {"field": "original_language", "kind": "value", "name": "en"},
    {"field": "spoken_languages", "kind": "value", "name": "en, fr, Klingon"},
    {"field": "overview", "kind": "unknown"},
    {"field": "expected", "kind": "kind"},
]
REASONS = [{"points": 0.1, "words": "a sentence for others", "others": [], "more": 0} | reason for reason in REASONS]
SENTENCES = {
    "en-US": {
        "Directors": "Greta Gerwig: 7.4 on average over 3 earlier movies; New: no earlier movie known; and 2 more",
        "Companies": "A24: 7.0 for one earlier movie; and 1 more",
        "Collection": "Women: no earlier movie known",
        "Genres": "Drama, Romance; and 3 more",
        "Running time": "135 minutes",
        "Budget": "$40M",
        "Release date": "Dec 25, 2019",
        "Original language": "English",
        "Spoken languages": "English, French, Klingon",
        "Synopsis": "not known",
        "Movies like it": "what movies of its kind usually reach",
    },
    "ko-KR": {
        "감독": "Greta Gerwig: 이전 작품 3편, 평균 7.4점; New: 알려진 이전 작품 없음; 그 외 2명",
        "제작사": "A24: 이전 작품 한 편, 7.0점; 그 외 1개",
        "시리즈": "Women: 알려진 이전 작품 없음",
        "장르": "드라마, 로맨스; 그 외 3개",
        "상영 시간": "135분",
        "제작비": "US$4000만",
        "개봉일": "2019. 12. 25.",
        "원어": "영어",
        "사용 언어": "영어, 프랑스어, Klingon",
        "줄거리": "알려지지 않음",
        "비슷한 영화": "비슷한 영화들이 보통 받는 점수",
    },
}


@pytest.fixture
def page(browser: Browser, service: str) -> Iterator[Page]:
    """The page as a new visitor sees it; whatever the console says against it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 1200}, locale="en-US")
    page, complaints = context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{service}/ui/")
    yield page
    context.close()
    assert [
        said for said in complaints if "status of 400" not in said
    ] == []  # a refused field is logged by the browser


def rating(page: Page) -> float:
    expect(page.locator("#rating")).to_be_visible()
    return float(re.findall(r"[\d.]+", page.locator("#rating").inner_text())[0])


def test_a_movie_is_typed_and_rated_with_reasons_and_its_model_named(page: Page) -> None:
    page.locator("#f-title").fill("A test")
    assert 0 < rating(page) < 10
    expect(page.locator("#model")).to_contain_text("movie-rating v1")
    expect(page.get_by_role("heading", name="Why")).to_be_visible()
    expect(page.locator("#similar li").first).to_be_visible()
    expect(page.get_by_text("not endorsed or certified by TMDB")).to_be_visible()
    expect(page.get_by_text("synthetic").first).to_be_visible()


def test_a_wrong_value_is_told_at_its_field(page: Page) -> None:
    page.locator("#f-title").fill("A test")
    rating(page)
    page.locator("#f-runtime").fill("99999999")
    expect(page.locator("#f-runtime")).to_have_attribute("aria-invalid", "true")


def test_another_month_or_money_changes_the_rating_and_three_variants_stand_side_by_side(page: Page) -> None:
    page.click("#example")
    first = rating(page)
    page.click("#keep")
    page.locator("#f-runtime").fill("61")
    page.wait_for_timeout(1000)
    assert rating(page) != first
    page.click("#keep")
    page.click("#twice")
    page.wait_for_timeout(1000)
    page.click("#keep")
    expect(page.get_by_text("Greta Gerwig").first).to_be_visible()
    expect(page.locator("#keep")).to_be_disabled()  # three are enough


def test_it_speaks_korean_and_remembers(page: Page) -> None:
    page.click("#lang")
    assert page.locator("html").get_attribute("lang") == "ko"
    page.reload()
    assert page.locator("html").get_attribute("lang") == "ko"
    expect(page.get_by_label("제목")).to_be_visible()
    page.locator("#f-title").fill("A test")
    rating(page)
    page.locator("#f-directors").fill("Nobody At All")
    reason = page.locator("#reasons li", has_text="감독")
    expect(reason).to_contain_text("Nobody At All: 알려진 이전 작품 없음")
    page.click("#all-reasons")
    told = page.locator("#reasons").inner_text()
    assert "알려지지 않음" in told
    assert "unknown" not in told


def test_all_modules_are_loaded_and_nothing_else_is_asked_for(page: Page, service: str) -> None:
    answers: dict[str, int] = {}
    page.on("response", lambda answer: answers.update({answer.url.removeprefix(service): answer.status}))
    page.reload(wait_until="networkidle")
    files = {f"/ui/{file.name}" for file in (PROJECT / "web").iterdir() if file.suffix in {".js", ".css"}}
    assert set(answers) == files | {"/ui/", "/model/info"}
    assert set(answers.values()) <= {200, 304}


@pytest.mark.parametrize("locale", SENTENCES)
def test_reasons_are_facts_and_the_page_says_them_in_its_language(browser: Browser, service: str, locale: str) -> None:
    def answer(route: Route) -> None:
        real = route.fetch()
        route.fulfill(response=real, json=real.json() | {"reasons": REASONS})

    context = browser.new_context(locale=locale)
    page = context.new_page()
    page.route("**/predict", answer)
    page.goto(f"{service}/ui/")
    page.click("#example")
    page.click("#all-reasons")
    rows = page.locator("#reasons li").all()
    assert {row.locator("b").inner_text(): row.locator(".why").inner_text() for row in rows} == SENTENCES[locale]
    assert "a sentence for others" not in page.content()
    context.close()


def test_cards_of_upcoming_say_their_weightiest_reason_and_old_english_sentences_stay_out_of_korean(page: Page) -> None:
    movie = {
        "genres": ["Drama"],
        "original_language": "en",
        "poster_path": None,
        "rating": 6.5,
        "low": 5.0,
        "high": 8.0,
    }
    old = {"field": "cast", "points": -0.12, "words": "cast Somebody: no earlier movie known"}
    movies = [
        movie | {"id": 1, "title": "Present", "release_date": "2030-01-01", "reasons": REASONS},
        movie | {"id": 2, "title": "Stored before", "release_date": "2030-01-02", "reasons": [old]},
        movie | {"id": 3, "title": "Bare", "release_date": "2030-01-03", "reasons": []},
    ]
    model = {"name": "movie-rating", "version": "1"}
    listed = {"as_of": "2029-12-31", "source": "synthetic", "model": model, "movies": movies, "past": []}
    page.route("**/upcoming", lambda route: route.fulfill(json=listed))
    page.click("#tab-upcoming")
    expect(page.locator(".poster")).to_have_count(3)
    present, before, bare = page.locator(".poster").all()
    expect(present).to_contain_text("Above all: Directors +0.31")
    expect(present).to_contain_text(SENTENCES["en-US"]["Directors"])
    expect(before).to_contain_text("Above all: Cast −0.12")
    expect(before).to_contain_text(old["words"])
    expect(bare).not_to_contain_text("Above all")
    page.click("#lang")
    present, before, _ = page.locator(".poster").all()
    expect(present).to_contain_text("가장 큰 이유: 감독 +0.31")
    expect(present).to_contain_text(SENTENCES["ko-KR"]["감독"])
    expect(before).to_contain_text("가장 큰 이유: 출연 −0.12")
    assert "earlier movie" not in page.content()


def test_a_csv_goes_up_and_comes_down_with_predictions(page: Page, tmp_path: Path) -> None:
    page.click("#tab-many")
    rows = 'title,runtime,genres,note\r\n"A, ""B""",100,Drama;War,x\r\nBad,long,,\r\n=cmd(),90,,y\r\n'
    page.set_input_files("#csv", {"name": "movies.csv", "mimeType": "text/csv", "buffer": rows.encode()})
    with page.expect_download() as waiting:
        page.click("#csv-save")
    waiting.value.save_as(tmp_path / "rated.csv")
    lines = (tmp_path / "rated.csv").read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("title,runtime,genres,note,rating,low,high")
    assert '"A, ""B"""' in lines[1]
    assert "runtime" in lines[2]
    assert lines[3].startswith("'=cmd()")


def test_tabs_are_moved_with_the_keyboard(page: Page) -> None:
    page.locator("#tab-predict").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-many")).to_be_focused()
    expect(page.locator("#tab-many")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("End")
    expect(page.locator("#record")).to_be_visible()


def test_a_title_is_text_and_never_markup(page: Page) -> None:
    page.locator("#f-title").fill("<img src=x onerror=alert(1)>")
    rating(page)
    page.click("#keep")
    assert page.locator("img[src='x']").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_phone(browser: Browser, service: str, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, locale="ko-KR")
    page = context.new_page()
    page.goto(f"{service}/ui/")
    page.click("#example")
    expect(page.locator("#rating")).to_be_visible()
    for tab in ("many", "upcoming", "record", "predict"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
