"""Asks whether gates help, or cost nothing, where a training starts from pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nnunet_attention.crossval import CrossvalPlan
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.divided import SIZES, Divide, divide
from nnunet_attention.experiments.paper_table import Layout
from nnunet_attention.experiments.stages import (
    DEFAULT_TRAINERS,
    FINETUNE,
    Action,
    Arm,
    Experiment,
    Trainings,
    method_titles,
    repeats_of,
    single_stage_configuration_of,
)
from nnunet_attention.experiments.target_plans import MovedPlans, moved_name
from nnunet_attention.experiments.transfer import weights_of
from nnunet_attention.files import remove
from nnunet_attention.jobs.local import command_environment
from nnunet_attention.jobs.process import run_command
from nnunet_attention.nnunet.checkpoints import is_whole
from nnunet_attention.nnunet.dataset_names import short_dataset_name
from nnunet_attention.nnunet.fold_state import repeat_in_words
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL
from nnunet_attention.weights.checkpoint import load_safely

_GATED = "AttentionUNet"
_WIDE = "WideUNet"
_FINETUNED = "FinetuneTrainer"


@dataclass(frozen=True)
class Start(Action):
    """The stage that makes the checkpoint from which networks of a kind are fine-tuned.

    Attributes:
        weights: Checkpoint of the pretraining.
        path: Checkpoint to make.
        target: Full name of the data set that is fine-tuned on.
        plans: Name of its plans.
        configuration: The configuration that is trained.
        gated: Whether the networks have gates.
    """

    weights: Path
    path: Path
    target: str
    plans: str
    configuration: str
    gated: bool

    @property
    def name(self) -> str:
        return f"start {self.path.stem}"

    @property
    def command(self) -> list[str]:
        """Our command."""
        return [
            *("nnunet-attention", "upgrade", str(self.weights), "-o", str(self.path)),
            *("-d", self.target, "-p", self.plans, "-c", self.configuration),
            *([] if self.gated else ["--plain"]),
        ]

    @property
    def description(self) -> str:
        return " ".join(self.command)

    def is_done(self) -> bool:
        """Tell whether the checkpoint is there, and no older than the pretraining's."""
        return is_whole(self.path) and (
            not self.weights.exists() or self.path.stat().st_mtime >= self.weights.stat().st_mtime
        )

    def do(self, log: Path) -> None:
        """Make the checkpoint.

        Raises:
            CommandError: if there is one of another pretraining, or the command fails.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self.path.with_name(f"{self.path.stem}.before{self.path.suffix}")
        if is_whole(kept):
            # Of a run that was killed here.
            kept.replace(self.path)
        before = load_safely(self.path)["network_weights"] if is_whole(self.path) else None
        if before is not None:
            self.path.replace(kept)
        remove(self.path)
        run_command(self.command, command_environment(), log)
        if before is None:
            return
        if not _are_equal(before, load_safely(self.path)["network_weights"]):
            kept.replace(self.path)
            raise CommandError(
                f"{self.path} was made from another pretraining than {self.weights}, and trainings "
                "may have started from it, with which new ones would not compare; remove it with "
                "the models that were fine-tuned from it, or put the old pretraining back"
            )
        remove(kept)


def _are_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def finetune(
    plan: CrossvalPlan, folders: Folders, root: Path, derived_number: int | None = None
) -> Experiment:
    """Lay out a pretraining with merged labels, and trainings on few other cases with all labels.

    The first model is trained from scratch, and pretrained; the others start from its weights.

    Args:
        plan: As for `capacity`, with one data set and no folds.
        folders: nnU-Net's folders.
        root: The experiment's folder; it gets the checkpoints that trainings start from.
        derived_number: Number of the first of two data sets that are made, see `divide`.

    Returns:
        The experiment.

    Raises:
        CommandError: If there are several data sets or plans, folds are given, a trainer's network
            has another width, or there are too few cases.
    """
    if len(plan.datasets) != 1:
        raise CommandError(f"-d {' '.join(plan.datasets)}: finetune divides one data set; give one")
    if plan.folds is not None:
        raise CommandError(
            f"-f {' '.join(plan.folds)}: finetune has its own folds, of {_numbers()} cases; leave "
            "it out"
        )
    if plan.groups is not None:
        raise CommandError(
            "--groups, --group-by: finetune divides case by case; give it a data set with one case "
            "per group"
        )
    if len({plans for _, plans in plan.models}) != 1:
        raise CommandError("-p: finetune compares trainers with the same plans; give one")
    if len(plan.models) < 2:
        raise CommandError("-tr: finetune needs a trainer from scratch and one that fine-tunes")
    first = plan.models[0][0]
    if _FINETUNED in first:
        raise CommandError(
            f"-tr {first}: the first trainer trains from scratch, but this one only fine-tunes; "
            f"begin with another, such as {DEFAULT_TRAINERS[FINETUNE][0]}"
        )
    wide = [trainer for trainer, _ in plan.models if trainer.startswith(_WIDE)]
    if wide:
        raise CommandError(
            f"-tr {' '.join(wide)}: weights cannot pass between a U-Net and a wider one; leave it "
            "out"
        )
    configuration = single_stage_configuration_of(plan)
    division = divide(folders, plan.datasets[0], derived_number)
    (scratch, plans), *tuned = plan.models
    source, target = division.pretraining, division.target
    folds = tuple(str(fold) for fold in range(len(SIZES)))
    to_target = replace(plan, datasets=(target,), folds=folds)
    pretrained = (scratch, moved_name(plans, target))
    stages: list[Trainings | Action] = [
        Divide(folders, division),
        Trainings("prepare", replace(to_target, folds=())),
        MovedPlans(folders, source, target, plans, configuration),
        Trainings(
            f"pretrain {short_dataset_name(source)}",
            replace(to_target, datasets=(source,), folds=(ALL,), models=(pretrained,)),
        ),
        Trainings("scratch", replace(to_target, models=((scratch, plans),))),
    ]
    for repeat in repeats_of(plan):
        # Each repeat has its own pretraining: with a shared one, trainings would differ less.
        weights = weights_of(
            folders.of_repeat(repeat), source, target, (scratch, plans), configuration
        )
        for gated in (False, True):
            models = tuple(model for model in tuned if model[0].startswith(_GATED) == gated)
            if not models:
                continue
            name = f"{'gated' if gated else 'plain'}{repeat_in_words(repeat)}"
            path = root / "starts" / f"{name.replace(', ', '_').replace(' ', '_')}.pth"
            tuning = replace(to_target.of_repeat(repeat), models=models, pretrained_weights=path)
            stages += [
                Start(weights, path, target, plans, configuration, gated),
                Trainings(f"fine-tune {name}", tuning, repeat),
            ]
    methods = method_titles(plan.models)
    arms = tuple(
        Arm(f"{target} fold {fold}", method, target, *model, (fold,), repeat=repeat)
        for fold in folds
        for model, method in methods.items()
        for repeat in repeats_of(plan)
    )

    def layout() -> Layout:
        settings = {
            f"{target} fold {fold}": f"{size}/{len(division.tested)}"
            for fold, size in zip(folds, SIZES, strict=True)
        }
        title = f"Fine-tuning on {short_dataset_name(division.original)}"
        # Whether gates help is a question to the same weights without gates.
        controls = tuple(methods[model] for model in tuned if not model[0].startswith(_GATED))
        return Layout(title, settings, methods[(scratch, plans)], True, controls)

    # The fine-tuned trainings of a repeat start from one pretraining, with one seed.
    return Experiment(FINETUNE, configuration, tuple(stages), arms, layout, paired_repeats=True)


def _numbers() -> str:
    return f"{', '.join(map(str, SIZES[:-1]))} and {SIZES[-1]}"
