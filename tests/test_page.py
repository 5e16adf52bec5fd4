"""The page at /ui in a real browser, with the real service behind it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


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
