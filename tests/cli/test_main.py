"""What all commands share."""

import io
import sys

from nnunet_attention.cli.main import main
from nnunet_attention.errors import CommandError


def test_what_a_terminals_encoding_lacks_is_replaced(monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    errors = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(sys, "stderr", errors)

    def run(arguments):
        print("0.886 ± 0.035")
        raise CommandError("Müller")

    monkeypatch.setattr("nnunet_attention.cli.where.run", run)
    assert main(["where"]) == 1
    assert written.buffer.getvalue() == b"0.886 ? 0.035\n"
    assert errors.buffer.getvalue() == b"nnunet-attention where: M?ller\n"
