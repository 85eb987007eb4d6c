"""An export that goes to another process and there writes, fails or dies; imports little."""

import os
from pathlib import Path

from nnunet_attention.errors import CommandError


class FakeExport:
    """What `Exporters` need of a `CaseExport`."""

    def __init__(self, output: Path, ending: str = "done"):
        self.output, self.ending = output, ending

    @property
    def case(self) -> str:
        return self.output.name

    def run(self, logits) -> None:
        if self.ending == "error":
            raise CommandError(f"{self.case}: cannot be written")
        if self.ending == "killed":
            os._exit(9)
        self.output.write_text(f"{os.getpid()} {logits.sum():g}")
