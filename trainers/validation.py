"""Lets our trainers resume an interrupted validation."""

from typing import TYPE_CHECKING

from nnunet_attention.nnunet.kept_cases import kept_cases

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object


class ContinuesValidation(_Trainer):
    """Skips cases in the validation that are listed as predicted already; mixed into a trainer.

    `nnunet-attention crossval` lists them. The summary covers all cases in the folder.
    """

    _kept_cases: frozenset[str] = frozenset()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does, on the remaining cases."""
        self._kept_cases = kept_cases()
        try:
            # The next class in the method resolution order is nnU-Net's trainer.
            super().perform_actual_validation(save_probabilities)
        finally:
            self._kept_cases = frozenset()

    def do_split(self) -> tuple[list[str], list[str]]:
        """Split as nnU-Net does; during a validation, leave out the cases that are kept."""
        train, validated = super().do_split()
        left = [case for case in validated if case not in self._kept_cases]
        if len(left) < len(validated):
            self.print_to_log_file(
                f"The predictions of {len(validated) - len(left)} of {len(validated)} cases are "
                "kept from an earlier validation with this checkpoint"
            )
        return train, left
