from nnunet_attention import doorway
from nnunet_attention.cli import main


def test_the_directory_is_printed_alone(capsys):
    assert main(["where"]) == 0
    assert capsys.readouterr().out == f"{doorway.directory()}\n"
