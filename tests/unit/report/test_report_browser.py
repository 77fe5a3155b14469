"""The page in real Chromium: nothing missing, nothing from elsewhere; slider, zoom and phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import CHROMIUM, Browser
from tacolab.plan import Plan

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's chromium (.ci/run installs it)"
)

STATE = """(() => {
  const photo = document.querySelector(".photo"), layers = photo.querySelector(".layers");
  const images = [...layers.querySelectorAll("img")].map((i) => decodeURI(i.getAttribute("src")));
  return {
    value: Number(photo.querySelector(".divider").value),
    at: getComputedStyle(layers).getPropertyValue("--at"),
    images, width: layers.getBoundingClientRect().width,
    texts: [...photo.querySelectorAll(".sides > div")].map((side) => side.innerText),
  };
})()"""
# Where the first slider is, once it is in view.
PLACE = """(() => {
  const layers = document.querySelector(".layers");
  layers.scrollIntoView({block: "center"});
  const box = layers.getBoundingClientRect();
  return [box.left, box.top, box.width, box.height];
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(made: Plan, tmp_path: Path) -> Path:
    """A copy of the report: it is opened from anywhere."""
    shutil.copytree(made.find("report").folder, tmp_path / "a copy")
    return tmp_path / "a copy" / "index.html"


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_scrolls_sideways_nothing_is_missing(
    browser: Browser, page: Path, width: int
) -> None:
    browser.open(page, width)
    found = browser.run(
        """(async () => {
          for (const details of document.querySelectorAll("details")) details.open = true;
          const images = [...document.images];
          images.forEach((image) => { image.loading = "eager"; });
          await Promise.allSettled(images.map((image) => image.decode()));
          return {
            width: innerWidth, scroll: document.documentElement.scrollWidth, images: images.length,
            broken: images.filter((image) => !image.naturalWidth).map((image) => image.src),
            elsewhere: performance.getEntriesByType("resource").map((entry) => entry.name)
              .filter((name) => !name.startsWith("file:")),
          };
        })()"""
    )
    assert found["width"] == width and found["scroll"] <= width
    assert found["images"] > 20 and found["broken"] == [] and found["elsewhere"] == []


def test_a_phone_shows_each_verdict_and_its_reasons(browser: Browser, claimed: Path) -> None:
    """The table is wider than the window: the verdict stays in it, reasons stand below the row."""
    browser.open(claimed / "index.html", 390)
    found = browser.run(
        """[...document.querySelectorAll(".verdicts td.c-verdict, .verdicts .below p")].map(
          (part) => { const box = part.getBoundingClientRect(); return [box.left, box.right]; })"""
    )
    claims = browser.run("""document.querySelectorAll(".verdicts td.c-claim").length""")
    assert len(found) > claims > 0
    assert all(0 <= left < right <= 390 for left, right in found)
    below = browser.run("""document.querySelector(".verdicts .below").innerText""")
    assert below.startswith(("support:", "note:"))


def test_folded_claims_open_and_are_printed(browser: Browser, claimed: Path) -> None:
    browser.open(claimed / "index.html", 390)
    seen = "document.querySelector('.other-claims td').checkVisibility()"
    assert not browser.run(seen)
    browser("Emulation.setEmulatedMedia", media="print")
    assert browser.run(seen)
    browser("Emulation.setEmulatedMedia", media="")
    browser.run("document.querySelector('details:has(.other-claims) > summary').click()")
    assert browser.run(seen)
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_links_lead_to_their_sections(browser: Browser, page: Path) -> None:
    browser.open(page, 1200)
    links = browser.run("[...document.querySelectorAll('nav a')].map((link) => link.hash)")
    assert len(links) == 9
    for link in links:
        top = browser.run(
            f"""(() => {{
              document.querySelector('nav a[href="{link}"]').click();
              return document.querySelector("{link}").getBoundingClientRect().top;
            }})()"""
        )
        assert -1 <= top < 800, link


def test_slider_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page, 1200)
    browser.run("document.querySelector('.divider').focus()")
    browser.key("ArrowRight", 39)
    state = browser.run(STATE)
    assert (state["value"], state["at"]) == (51, "51%")
    browser.key("Home", 36)
    state = browser.run(STATE)
    assert (state["value"], state["at"]) == (0, "0%")


def test_slider_by_mouse(browser: Browser, page: Path) -> None:
    browser.open(page, 1200)
    left, top, width, height = browser.run(PLACE)
    browser.drag(left + width / 2, top + height / 2, left + width / 4)
    state = browser.run(STATE)
    assert state["value"] == pytest.approx(25, abs=1) and state["at"] == f"{state['value']}%"
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=left + 5, y=top + 5)
    assert browser.run(STATE)["value"] == state["value"]  # a passing mouse moves nothing


def test_slider_by_touch_on_a_phone(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    browser("Emulation.setTouchEmulationEnabled", enabled=True)
    left, top, width, height = browser.run(PLACE)
    browser.touch(left + 0.8 * width, top + height / 2)
    browser("Emulation.setTouchEmulationEnabled", enabled=False)
    assert browser.run(STATE)["value"] == pytest.approx(80, abs=1)


def test_other_pictures_and_zoom(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    before = browser.run(STATE)
    assert "/original/" in before["images"][0] and "/original/" not in before["images"][1]
    assert before["texts"][0] == "original" and "bpp" in before["texts"][1]
    browser.run(
        """(() => {
          const change = (select, value) => {
            select.value = value;
            select.dispatchEvent(new Event("change", {bubbles: true}));
          };
          const photo = document.querySelector(".photo");
          change(photo.querySelector("[data-side=left]"), "2");
          change(photo.querySelector("[data-zoom]"), "4");
        })()"""
    )
    after = browser.run(STATE)
    assert after["images"][0] != before["images"][0]
    assert "bpp" in after["texts"][0]
    assert after["width"] == 4 * 192
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_without_scripts_all_pictures_stand_side_by_side(browser: Browser, page: Path) -> None:
    browser("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(page, 1200)
    browser("Emulation.setScriptExecutionDisabled", value=False)
    found = browser.run(
        "[document.querySelector('.viewer').hidden, document.querySelector('.photo details').open]"
    )
    assert found == [True, True]
