"""Pages are their template with everything in it."""

import json
import re
import sys

import pytest

from nnunet_attention.pages import filled_page, json_in_script

TEMPLATE = (
    "<title>$title</title><style>$style</style>"
    '<script type="application/json">$data</script><script>$script</script> costs $$5'
)


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    folder = tmp_path / "package_of_a_page"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "page.html").write_text(TEMPLATE)
    (folder / "page.css").write_text("a { color: $title }")
    (folder / "page.js").write_text("const text = `${name} and $data`;")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    sys.modules.pop(folder.name, None)


def test_style_script_data_and_texts_are_put_in_as_they_are(package):
    assert filled_page(package, {"n": [1, None]}, title="<b>$script</b>") == (
        "<title><b>$script</b></title><style>a { color: $title }</style>"
        '<script type="application/json">{"n":[1,null]}</script>'
        "<script>const text = `${name} and $data`;</script> costs $5"
    )


def test_a_mark_that_nobody_fills_is_an_error(package):
    with pytest.raises(KeyError, match="title"):
        filled_page(package, {})


def test_names_end_no_script_element():
    names = ["</script><script>alert(1)</script>", "<!-- <script>", "a & b > c"]
    text = json_in_script(names)
    assert not re.search(r"<", text)
    assert json.loads(text) == names


def test_what_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        json_in_script(float("nan"))
