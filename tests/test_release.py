"""What a release needs beside the code is whole and agrees with the code."""

import re
import subprocess
from importlib import metadata

import pytest
import yaml
from repository import REPOSITORY

import nnunet_attention

FORMS = [
    path
    for path in sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    if path.stem != "config"
]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def tracked_files() -> list[str]:
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("needs a checkout by git")
    return [name for name in done.stdout.decode().split("\0") if name]


def test_the_version_stands_in_one_place():
    assert metadata.version("nnunet-attention") == nnunet_attention.__version__
    assert 'dynamic = ["version"]' in read("pyproject.toml")
    assert "version" not in yaml.safe_load(read("CITATION.cff"))


def test_the_citation_names_both_papers():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == metadata.metadata("nnunet-attention")["License-Expression"]
    first_authors = [work["authors"][0]["family-names"] for work in citation["references"]]
    assert first_authors == ["Oktay", "Isensee"]


def test_the_workflow_runs_targets_of_the_makefile():
    workflow = yaml.safe_load(read(".github/workflows/check.yml"))
    job = workflow["jobs"]["make"]
    assert job["steps"][-1]["run"] == "make ${{ matrix.target }}"
    targets = job["strategy"]["matrix"]["target"]
    assert targets == ["lint", "test", "docs", "build"]
    for target in targets:
        assert re.search(rf"^{target}:", read("Makefile"), re.MULTILINE)


def test_forms_are_whole_and_the_one_for_faults_asks_for_the_report():
    for path in FORMS:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        assert all("label" in part["attributes"] for part in form["body"])
    report = "nnunet-attention doctor --report"
    assert report in read(".github/ISSUE_TEMPLATE/fault.yml")


def test_no_host_of_a_registry_is_named():
    hosts = re.compile(rb"(pypi|pythonhosted|conda-forge|anaconda)[.](org|com)")
    for name in tracked_files():
        path = REPOSITORY / name
        if path.is_file() and path.suffix not in {".xz", ".png"}:
            assert not hosts.search(path.read_bytes()), name
