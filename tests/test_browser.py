import browser as module
import pytest


def page(tmp_path, script):
    path = tmp_path / "page.html"
    path.write_text(f'<!doctype html><link rel="icon" href="data:,"><p><script>{script}</script>')
    return path


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("console.error('broken')", "console error: broken"),
        ("console.warn('odd')", "console warning: odd"),
        ("missing()", "missing is not defined"),
        ("new Image().src = 'http://localhost/a.png'", "asks the network for http://localhost"),
    ],
)
def test_what_goes_wrong_in_a_page_is_noted(chromium, tmp_path, script, error):
    chromium.open(page(tmp_path, script)).wait_for_load_state()
    assert any(error in one for one in chromium.close_pages())


def test_a_good_page_has_no_errors(browser, tmp_path):
    opened = browser.open(page(tmp_path, "document.title = 'good'"), size=module.PHONE)
    assert opened.title() == "good"
    assert opened.viewport_size == {"width": 390, "height": 844}


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_without_a_browser_ci_fails_and_others_skip(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(outcome, match="chromium"), module.started_browser():
        pass
