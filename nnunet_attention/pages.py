"""Fills templates of web pages that are one file each and need nothing else, not even a network."""

from __future__ import annotations

import json
from importlib.resources import files
from string import Template


def filled_page(package: str, data: object, **texts: str) -> str:
    """Return the text of a page whose template, style and script lie in a package.

    The template is `page.html`, in which `$name` is a mark. `$style` stands for `page.css`,
    `$script` for `page.js` and `$data` for the data, which the script reads with `JSON.parse` from
    an element `<script type="application/json">`. A dollar sign itself is written as `$$`; style
    and script are put in as they are.

    Args:
        package: the package with the three files, such as `nnunet_attention.maps`; a static page
            has no script.
        data: anything that JSON can represent.
        texts: HTML for the other marks; the caller escapes plain text.

    Raises:
        KeyError: if the template has a mark without a text.

    Examples:
        >>> page = filled_page("nnunet_attention.maps", {"name": name}, title=html.escape(name))
    """
    folder = files(package)
    template, style = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css")
    )
    scripted = folder.joinpath("page.js")
    script = scripted.read_text(encoding="utf-8") if scripted.is_file() else ""
    # All marks are filled at once, because the texts may contain something like a mark.
    return Template(template).substitute(
        texts, style=style, script=script, data=json_in_script(data)
    )


def json_in_script(data: object) -> str:
    """Return JSON that is safe inside a script element, whatever names it holds."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    # In a script element only this character could end it, or begin a comment.
    return text.replace("<", "\\u003c")
