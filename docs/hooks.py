"""What the site needs beside its pages: pictures of the benchmarks, and docstrings of all names."""

import re
from pathlib import Path

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, InclusionLevel

PACKAGE = "nnunet_attention"
# Rooms that nobody imports from.
_WITHOUT_REFERENCE = {"cli", "demo"}


def on_files(files, config):
    """Add the pictures that pages show from `benchmarks/`, where the benchmarks write them."""
    root = Path(config["config_file_path"]).parent
    for page in list(files.documentation_pages()):
        for link in re.findall(r"\]\((\.\./benchmarks/[^)]+\.png)\)", page.content_string):
            source = (root / "docs" / link).resolve()
            if source.is_file() and files.get_file_from_path(link) is None:
                picture = File.generated(
                    config, link, abs_src_path=str(source), inclusion=InclusionLevel.INCLUDED
                )
                picture.dest_uri = link.removeprefix("../")
                files.append(picture)
    return files


def on_pre_build(config):
    """Stop where something public has no docstring, or a room is not in the reference.

    Classes, functions, methods and properties without one would be missing there.

    Raises:
        PluginError: naming all of them.
    """
    root = Path(config["config_file_path"]).parent
    pages = (root / "docs" / "reference").glob("*.md")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    rooms = set(re.findall(rf"^::: ({PACKAGE}\S*)", text, re.MULTILINE))
    loader = griffe.GriffeLoader(search_paths=[root / "build" / "package"])
    package = loader.load(PACKAGE, try_relative_path=False)
    loader.resolve_aliases(implicit=True)
    faults = [
        f"{PACKAGE}.{name} is in no page of docs/reference"
        for name, module in sorted(package.modules.items())
        if module.exports and name not in _WITHOUT_REFERENCE and f"{PACKAGE}.{name}" not in rooms
    ]
    for room in sorted(rooms):
        module = package[room.removeprefix(f"{PACKAGE}.")] if room != PACKAGE else package
        for name in module.exports or ():
            member = module.members.get(str(name))
            if member is None or (member.is_alias and not member.resolved):
                continue  # constants that were assigned several at once
            faults.extend(
                f"{path} has no docstring" for path in _without_docstring(member, f"{room}.{name}")
            )
    if faults:
        raise PluginError("; ".join(faults))


def _without_docstring(member, path):
    """Yield the paths of a public name, and of its own public methods, that have no docstring."""
    member = member.final_target if member.is_alias else member
    if not member.is_attribute and not member.has_docstring:
        yield path
    if member.is_class:
        for name, inner in member.members.items():
            is_method = not inner.is_alias and (inner.is_function or "property" in inner.labels)
            if is_method and not name.startswith("_") and not inner.has_docstring:
                yield f"{path}.{name}"
