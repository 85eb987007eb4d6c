"""What the site's pages load beside their text."""

from repository import DOCS, REPOSITORY

WORKER = """
onmessage = (event) => postMessage({ twice: 2 * event.data });
"""
PAGE = """<!doctype html><link rel="icon" href="data:,"><title>waiting</title><body>
<script src="iframe-worker.js"></script>
<script>
  const worker = new Worker("worker.js");
  worker.onmessage = (event) => (document.title = String(event.data.twice));
  worker.postMessage(21);
</script>
"""


def test_the_search_finds_its_worker_where_a_page_is_opened_from_a_folder(browser, tmp_path):
    script = (DOCS / "iframe-worker.js").read_text(encoding="utf-8")
    (tmp_path / "iframe-worker.js").write_text(script)
    (tmp_path / "worker.js").write_text(WORKER)
    (tmp_path / "page.html").write_text(PAGE)
    page = browser.open(tmp_path / "page.html")
    page.wait_for_function("document.title === '42'")


def test_pages_load_no_fonts_or_scripts_from_other_hosts():
    configuration = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in configuration
    # In its place the plugin `offline` would load one from another host.
    assert "polyfills: [iframe-worker.js]" in configuration
    assert "https:" not in configuration
