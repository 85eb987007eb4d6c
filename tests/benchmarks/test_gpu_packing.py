"""Packs for machines without network: what is gathered, cut, checked, joined and installed."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from repository import REPOSITORY

from benchmarks.gpu import packing
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.installing import install
from benchmarks.gpu.packing import check_data, older_platforms, read_freeze
from benchmarks.gpu.parts import check_parts, extract, read_manifest, told_sizes, write_parts
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.errors import CommandError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def packed(tmp_path):
    """Two files of 3000 and 50 bytes in parts of 1024 bytes, and their manifest."""
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "large").write_bytes(bytes(range(250)) * 12)
    (source / "inner" / "small").write_bytes(b"x" * 50)
    folder = tmp_path / "pack"
    about = {"python": HERE, "sizes": {"all": 3050}}
    write_parts(folder, [(source, "data/Task99_Tiny")], about, 1 / 1024)
    return folder


def test_parts_are_no_larger_than_asked_for_and_joined_are_what_was_packed(packed, tmp_path):
    manifest = read_manifest(packed)
    parts = [packed / one["name"] for one in manifest["parts"]]
    assert [path.name for path in parts] == sorted(path.name for path in packed.glob("part_*"))
    assert max(path.stat().st_size for path in parts) == 1024
    for path, one in zip(parts, manifest["parts"], strict=True):
        assert path.stat().st_size == one["bytes"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == one["sha256"]
    # Plain parts: joined they are an archive that any tool reads.
    joined = io.BytesIO(b"".join(path.read_bytes() for path in parts))
    with tarfile.open(fileobj=joined) as archive:
        assert "data/Task99_Tiny/large" in archive.getnames()
    check_parts(packed, manifest)
    extract(packed, manifest, tmp_path / "out")
    found = tmp_path / "out" / "data" / "Task99_Tiny"
    assert (found / "large").read_bytes() == bytes(range(250)) * 12
    assert (found / "inner" / "small").read_bytes() == b"x" * 50


def test_sizes_are_told_the_largest_first_and_small_ones_added_up():
    sizes = {"a": 2**20, "b": 5 * 2**20, "c": 2**19, "d": 2**19}
    parts = [{"name": "part_001", "bytes": 7 * 2**20}]
    assert told_sizes({"sizes": sizes, "parts": parts}).splitlines() == [
        "  b: 5.0 MiB",
        "  a: 1.0 MiB",
        "  2 smaller ones: 1.0 MiB",
        "1 part(s), 7.0 MiB",
    ]


def test_missing_and_damaged_parts_are_all_named(packed, tmp_path):
    (packed / "part_002").unlink()
    with (packed / "part_003").open("r+b") as file:
        file.write(b"other")
    with pytest.raises(CommandError, match=r"part_002 is missing, part_003 differs.*copy them"):
        install(packed, tmp_path / "work", [])
    assert not (tmp_path / "work").exists()


def test_a_pack_for_another_python_is_refused(packed, tmp_path):
    manifest = json.loads((packed / "manifest.json").read_text())
    (packed / "manifest.json").write_text(json.dumps({**manifest, "python": "3.1"}))
    with pytest.raises(CommandError, match=rf"Python 3\.1, this is {HERE}; .*--python {HERE}"):
        install(packed, tmp_path / "work", [])


def test_what_leads_out_of_the_folder_is_refused(tmp_path):
    source = tmp_path / "file"
    source.write_text("x")
    write_parts(tmp_path / "pack", [(source, "../outside")], {}, 1)
    with pytest.raises(CommandError, match=r"refused '\.\./outside'"):
        extract(tmp_path / "pack", read_manifest(tmp_path / "pack"), tmp_path / "out")
    assert not (tmp_path / "outside").exists()


def test_a_folder_that_holds_something_is_not_packed_into(packed, tmp_path, capsys):
    before = sorted(packed.iterdir())
    assert exit_code_of("it", lambda: main(["pack", "-o", str(packed), "--all"])) == 1
    assert "is not empty; choose another" in capsys.readouterr().err
    assert sorted(packed.iterdir()) == before


def test_a_folder_without_a_manifest_is_no_pack(tmp_path, capsys):
    assert (
        exit_code_of("it", lambda: main(["install", str(tmp_path), "-w", str(tmp_path / "work")]))
        == 1
    )
    assert "manifest.json: there is no such file" in capsys.readouterr().err


def test_what_is_there_is_read_as_pip_prints_it(tmp_path):
    path = tmp_path / "there.txt"
    path.write_text(
        "# a comment\nPillow==13.0.0\ntorch==2.11.0+cu130\nmy_Package.x @ file:///somewhere\n"
        "-e git+ssh://somewhere#egg=other\n"
    )
    found = read_freeze(path)
    assert found == {"pillow": "13.0.0", "torch": "2.11.0", "my-package-x": None}
    path.write_text("pip 23.2\n")
    with pytest.raises(CommandError, match="names no package; give the output"):
        read_freeze(path)
    with pytest.raises(CommandError, match="cannot be read"):
        read_freeze(tmp_path / "nothing")


def test_wheels_for_older_systems_are_taken_too():
    assert older_platforms("manylinux_2_18_x86_64")[:4] == (
        "manylinux_2_18_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
        "manylinux_2_16_x86_64",
    )
    assert older_platforms("manylinux_2_18_aarch64")[-1] == "linux_aarch64"
    assert older_platforms("win_amd64") == ("win_amd64",)


def test_data_are_a_task_of_the_decathlon_or_preprocessed(tmp_path):
    task, dataset = tmp_path / "Task04_Hippocampus", tmp_path / "Dataset004_Hippocampus"
    (task / "imagesTr").mkdir(parents=True)
    dataset.mkdir()
    check_data(task)
    with pytest.raises(CommandError, match="neither a task folder"):
        check_data(dataset)
    (dataset / "nnUNetPlans.json").touch()
    check_data(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--python", "3"], "--python 3: wanted a version such as 3.12"),
        (["--part-mib", "0"], "--part-mib 0.0: wanted a number above 0"),
        (["--data", "nowhere"], "--data nowhere: is neither"),
        (["--part-mib", "nan"], "--part-mib nan: wanted a number above 0"),
    ],
)
def test_bad_options_of_pack_are_named_and_nothing_is_written(options, message, tmp_path, capsys):
    assert (
        exit_code_of("it", lambda: main(["pack", "-o", str(tmp_path / "pack"), "--all", *options]))
        == 1
    )
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_what_has_no_wheel_is_read_from_what_pip_says():
    said = (
        "ERROR: No matching distribution found for unittest2>=1; extra\n"
        "The conflict is caused by:\n"
        "    nnunetv2 2.8.1 depends on acvl-utils<0.3 and >=0.2.6\n"
        "    other 2.0 depends on tqdm; python_version < '4'\n"
        "    The user requested torch\n"
    )
    assert list(packing._absent(said)) == ["unittest2>=1", "acvl-utils<0.3,>=0.2.6", "tqdm"]


@pytest.mark.parametrize(("python", "ignores"), [(HERE, False), ("3.99", True)])
def test_for_another_python_this_ones_version_does_not_matter(
    python, ignores, tmp_path, monkeypatch
):
    (tmp_path / "built").mkdir()
    commands = []

    def pip(*arguments, check=True):
        commands.append(list(map(str, arguments)))
        report = {"install": [{"metadata": {"name": "My_Torch", "version": "2.11.0+cu130"}}]}
        (tmp_path / "report.json").write_text(json.dumps(report))
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(packing, "_pip", pip)
    target = packing.Target(python, ("linux_x86_64",))
    found = packing._resolve(["torch"], target, tmp_path / "constraints", tmp_path / "built")
    assert found == {"my-torch": "2.11.0"}
    assert ("--ignore-requires-python" in commands[0]) == ignores


def tiny_wheel(folder: Path, name: str, version: str, requires=(), tag="py3-none-any") -> Path:
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    lines = [f"Requires-Dist: {one}\n" for one in requires]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{''.join(lines)}",
        )
        archive.writestr(
            f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
        )
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
    return path


def tiny_source(folder: Path, name: str, version: str) -> None:
    files = {
        "setup.py": f"from setuptools import setup\nsetup(py_modules=['{name}'])\n",
        "pyproject.toml": (
            "[build-system]\nrequires = ['setuptools']\n"
            "build-backend = 'setuptools.build_meta'\n"
            f"[project]\nname = '{name}'\nversion = '{version}'\n"
        ),
        f"{name}.py": f"VERSION = {version!r}\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.slow
def test_a_pack_installs_where_there_is_no_index(tmp_path, monkeypatch, capsys):
    index, ours = tmp_path / "index", tmp_path / "ours"
    for folder in (index, ours):
        folder.mkdir()
    tiny_wheel(index, "tiny_there", "1.0")
    tiny_wheel(index, "tiny_there", "2.0")
    tiny_wheel(index, "tiny_missing", "1.0", ["tiny_there>=1"])
    # Of two platforms, and of another Python.
    tiny_wheel(index, "tiny_compiled", "1.0", tag=f"cp{HERE.replace('.', '')}-none-win_amd64")
    tiny_wheel(index, "tiny_compiled", "1.0", tag="py3-none-manylinux2014_x86_64")
    tiny_source(index, "tiny_source", "1.5")
    requires = ["tiny_missing", "tiny_source>=1", "tiny_compiled"]
    wheel = tiny_wheel(ours, "nnunet_attention", "0.0", requires)
    monkeypatch.setattr(packing, "_our_wheel", lambda *folders: wheel)
    monkeypatch.setattr(packing, "_TOOLS", ())
    monkeypatch.setattr(packing, "_WITHOUT_REQUIREMENTS", ())
    # pip reads its options there: no index, and setuptools from here to build with.
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", index), ("NO_BUILD_ISOLATION", "0")):
        monkeypatch.setenv(f"PIP_{name}", str(value))
    (tmp_path / "there.txt").write_text("tiny-there==1.0\n")
    task = tmp_path / "Task99_Tiny"
    (task / "imagesTr").mkdir(parents=True)
    (task / "imagesTr" / "image.nii.gz").write_bytes(b"image")
    pack = tmp_path / "pack"
    arguments = ["pack", "-o", str(pack), "--have", str(tmp_path / "there.txt")]
    arguments += ["--platform", "manylinux_2_28_x86_64", "--data", str(task)]
    assert main([*arguments, "--part-mib", "0.004"]) == 0
    assert "5 smaller ones: 0.0 MiB" in capsys.readouterr().out
    names = set(read_manifest(pack)["sizes"])
    assert {name.split("-")[0] for name in names} == {
        *("nnunet_attention", "tiny_missing", "tiny_source", "tiny_compiled", "Task99_Tiny")
    }
    assert len(list(pack.glob("part_*"))) > 1

    monkeypatch.setenv("PIP_FIND_LINKS", "")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python, work = tmp_path / "venv" / "bin" / "python", tmp_path / "work"
    command = [python, "-m", "benchmarks.gpu", "install", pack, "-w", work]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    # What was said to be there is not.
    assert done.returncode == 1
    assert "still missing here: tiny_there>=1; pack again with --have" in done.stderr
    there = tiny_wheel(tmp_path, "tiny_there", "1.0")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", there], check=True)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (work / "source" / "Task99_Tiny" / "imagesTr" / "image.nii.gz").read_bytes() == b"image"
    assert [path.name for path in work.iterdir()] == ["source"]
    program = "import tiny_source, tiny_missing, tiny_compiled; print(tiny_source.VERSION)"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1.5\n"
