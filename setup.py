"""Builds the package and ships the start-up file by which nnU-Net finds our trainers.

The metadata is in pyproject.toml. This file does what cannot be declared there: it packages
`trainers/` and `plans/` below `nnunet_attention`, and installs one line of Python into
site-packages as a `.pth` file, in normal and in editable installs.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

# Sorts after setuptools' own `__editable__...pth`, which must run first to make us importable.
START_UP_FILE = "nnunet_attention.pth"
# Python executes a .pth line that starts with `import`. It must never stop an interpreter.
START_UP_LINE = (
    'import sys; exec("try:\\n'
    " from nnunet_attention.doorway import register_at_startup\\n"
    " register_at_startup()\\n"
    'except Exception:\\n pass")\n'
)


class BuildWithStartUpFile(build_py):
    """Adds the start-up file to the root of the wheel."""

    @property
    def _start_up_path(self) -> Path:
        return Path(self.build_lib, START_UP_FILE)

    def run(self):
        super().run()
        if not self.editable_mode:
            self._start_up_path.parent.mkdir(parents=True, exist_ok=True)
            self._start_up_path.write_text(START_UP_LINE, encoding="utf-8")

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, str(self._start_up_path)]


class _StrategyWithStartUpFile:
    """Wraps setuptools' editable strategy and writes the start-up file into its wheel."""

    def __init__(self, strategy):
        self._strategy = strategy

    def __enter__(self):
        self._strategy.__enter__()
        return self

    def __exit__(self, *exception):
        return self._strategy.__exit__(*exception)

    def __call__(self, wheel, files, mapping):
        self._strategy(wheel, files, mapping)
        wheel.writestr(START_UP_FILE, START_UP_LINE)


class EditableWithStartUpFile(editable_wheel):
    """Ships the start-up file in editable installs too."""

    def _select_strategy(self, *args, **kwargs):
        return _StrategyWithStartUpFile(super()._select_strategy(*args, **kwargs))


# Guarded, as nnU-Net's trainer search imports every module in the folders that it searches.
if __name__ == "__main__":
    setup(
        packages=[
            *find_packages(include=["nnunet_attention", "nnunet_attention.*"]),
            "nnunet_attention.trainers",
            "nnunet_attention.plans",
        ],
        package_dir={
            "nnunet_attention.trainers": "trainers",
            "nnunet_attention.plans": "plans",
        },
        package_data={
            "nnunet_attention": ["py.typed"],
            "nnunet_attention.msd": ["*.json"],
            "nnunet_attention.evaluation.ablation.report": ["*.html", "*.css"],
            "nnunet_attention.evaluation.leaderboard.report": ["*.html", "*.css", "*.js"],
            "nnunet_attention.maps": ["*.html", "*.css", "*.js"],
            "nnunet_attention.portable": ["*.json"],
        },
        cmdclass={"build_py": BuildWithStartUpFile, "editable_wheel": EditableWithStartUpFile},
    )
