"""The page at / in headless Chromium: by mouse, by keyboard, on a phone's width, and for a screen reader."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.limits import make_key
from tests.fake_runtime import square
from tests.live_server import LiveServer, live_server
from tests.pictures import encoded

if TYPE_CHECKING:
    from playwright.sync_api import FileChooser, Page

pytestmark = [pytest.mark.integration, pytest.mark.browser]
FACTORY = "tests.fake_runtime:open_runtime"
PHONE = {"width": 360, "height": 640}


def _browser_missing() -> str | None:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None if shutil.which("chromium") else "Debian's chromium is not installed (apt-get install chromium)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    reason = _browser_missing()
    if reason is not None:
        if os.environ.get("TRADES_BOB_REQUIRE_ALL"):
            pytest.fail(reason)
        pytest.skip(f"THE PAGE IS NOT TESTED: {reason}")
    folder = tmp_path_factory.mktemp("page")
    (folder / "bundle.json").write_text("c" * 64)
    with live_server(folder, folder, FACTORY) as live:
        yield live


@pytest.fixture(scope="module")
def browser(server: LiveServer) -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: object, server: LiveServer) -> Iterator["Page"]:
    context = browser.new_context(viewport=PHONE)  # type: ignore[attr-defined]
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    yield page
    context.close()
    assert [problem for problem in problems if "Failed to load resource" not in problem] == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photo.png").write_bytes(encoded(square("bird", 300)))
    return tmp_path / "photo.png"


def answer(page: "Page", text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=60_000)


@pytest.mark.parametrize(("label", "words"), [("bird", "a bird"), ("bicycle", "a bicycle"), ("abstain", "Abstain")])
def test_a_chosen_photo_gets_its_label(page: "Page", tmp_path: Path, label: str, words: str) -> None:
    (tmp_path / "x.png").write_bytes(encoded(square(label, 300)))
    page.set_input_files("#file", tmp_path / "x.png")
    answer(page, words)
    assert len(page.locator("#digest").inner_text()) == 64
    assert page.get_by_role("img", name="The photo x.png").is_visible()


def test_a_dropped_photo_gets_its_label(page: "Page", photo: Path) -> None:
    data = list(photo.read_bytes())
    transfer = page.evaluate_handle(
        "data => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(data)], 'd.png')); return t; }",
        data,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    answer(page, "a bird")


def test_by_keyboard_alone(page: "Page", photo: Path) -> None:
    page.bring_to_front()  # a window without focus opens no chooser
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    outline = page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle")
    assert outline == "solid"
    chosen = []

    def keep(chooser: "FileChooser") -> None:
        chosen.append(chooser)

    page.on("filechooser", keep)
    for _ in range(30):  # on a busy machine a browser may find a key press too long ago to open a chooser for it
        page.keyboard.press("Space")
        page.wait_for_timeout(1000)
        if chosen:
            break
    assert chosen
    chosen[0].set_files(photo)
    answer(page, "a bird")


def test_names_and_roles_for_a_screen_reader(page: "Page", photo: Path) -> None:
    assert page.title() == "Bird or bicycle?"
    assert page.get_attribute("html", "lang") == "en"
    assert page.get_by_role("heading", level=1).inner_text() == "Bird or bicycle?"
    assert page.get_by_label("Choose a photo").get_attribute("type") == "file"
    page.set_input_files("#file", photo)
    answer(page, "a bird")
    assert page.get_by_role("status").get_attribute("aria-live") == "polite"


def test_a_phone_needs_no_sideways_scrolling(page: "Page", photo: Path) -> None:
    page.set_input_files("#file", photo)
    answer(page, "a bird")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    if folder := os.environ.get("TRADES_BOB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "page-phone.png")
        page.set_viewport_size({"width": 900, "height": 640})
        page.screenshot(path=Path(folder) / "page.png")


def test_the_interface_is_described_and_can_be_tried(page: "Page", server: LiveServer, photo: Path) -> None:
    page.goto(f"{server.url}/docs")
    for operation in ("POST /predict", "POST /predict/batch", "GET /info", "GET /readyz"):
        assert page.get_by_role("heading", name=operation, exact=True).is_visible()
    info = page.locator("section").filter(has=page.get_by_role("heading", name="GET /info", exact=True))
    info.get_by_role("button", name="Send").click()
    info.get_by_role("status").filter(has_text='"input_size":32').wait_for(timeout=60_000)
    for path, files, words in (
        ("/predict", [photo], '{"label": "bird"}'),
        ("/predict/batch", [photo] * 2, '"bird", "bird"'),
    ):
        box = page.locator("section").filter(has=page.get_by_role("heading", name=f"POST {path}", exact=True))
        box.get_by_label("File").set_input_files(files)
        box.get_by_role("button", name="Send").press("Enter")
        box.get_by_role("status").filter(has_text=words).wait_for(timeout=60_000)
        assert "pixels-sha256: " in box.get_by_role("status").inner_text()
    box = page.locator("section").filter(has=page.get_by_role("heading", name="POST /predict", exact=True))
    box.get_by_label("Type of the body").select_option("application/x-npy")
    box.get_by_role("button", name="Send").click()
    box.get_by_role("status").filter(has_text="urn:trades-bob:not-an-image").wait_for(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_comes_from_other_hosts(browser: object, server: LiveServer, path: str) -> None:
    page = browser.new_page()  # type: ignore[attr-defined]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    response = page.goto(server.url + path)
    page.wait_for_load_state("networkidle")
    assert asked
    assert [url for url in asked if not url.startswith((server.url, "blob:"))] == []
    assert "unsafe" not in response.headers["content-security-policy"]
    assert page.get_by_role("heading", level=1).is_visible()
    page.close()


def test_what_is_no_photo_gets_a_reason(page: "Page", tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "x.png")
    answer(page, "Not an image")


def test_a_key_is_asked_for(browser: object, tmp_path: Path, photo: Path, server: LiveServer) -> None:
    key, line = make_key("ann")
    (tmp_path / "keys").write_text(line)
    (tmp_path / "bundle.json").write_text("c" * 64)
    with live_server(tmp_path, tmp_path, FACTORY, api_keys_file=tmp_path / "keys") as guarded:
        page = browser.new_page()  # type: ignore[attr-defined]
        page.goto(guarded.url)
        page.set_input_files("#file", photo)
        answer(page, "Unknown API key")
        page.get_by_label("This service wants a key").fill(key)
        page.keyboard.press("Enter")
        answer(page, "a bird")
        page.close()
