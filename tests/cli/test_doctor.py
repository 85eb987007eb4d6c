"""`nnunet-attention doctor` prints what the examination found."""

import pytest

from nnunet_attention import doctor
from nnunet_attention.cli import main
from nnunet_attention.doctor import Finding


@pytest.mark.parametrize(("remedy", "exit_code"), [(None, 0), ("pip install torch", 1)])
def test_remedies_follow_the_table_and_decide_the_exit_code(monkeypatch, capsys, remedy, exit_code):
    findings = [Finding("python", "3.12"), Finding("torch", "[not] there", remedy)]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert main(["doctor"]) == exit_code
    lines = capsys.readouterr().out.splitlines()
    assert any("ok" in line and "3.12" in line for line in lines)
    assert any("torch" in line and "[not] there" in line for line in lines)
    assert (lines[-1] == f"torch: {remedy}") is (remedy is not None)
