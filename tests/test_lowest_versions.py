"""What is tested as the lowest version of each dependency is the bound that the package names."""

import importlib.util

from repository import REPOSITORY


def test_lower_bounds_are_pinned_but_for_those_of_tools():
    spec = importlib.util.spec_from_file_location("lowest", REPOSITORY / ".ci" / "lowest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.lowest(
        [
            "nnunetv2<3,>=2.8",
            "numpy>=1.26",
            "unbounded",
            'onnx>=1.17; extra == "engines"',
            'nnunet-attention[engines,slurm]; extra == "test"',
            'pytest>=8; extra == "test"',
            'mkdocs<2,>=1.6; extra == "docs"',
        ]
    ) == ["nnunetv2==2.8", "numpy==1.26", "onnx==1.17"]
