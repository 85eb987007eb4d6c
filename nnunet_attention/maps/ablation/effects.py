"""Measures case by case what replacing the gates' coefficients does to the segmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.rows import (
    ALL_GATES,
    RANDOM_WEIGHTS,
    RANDOMISED,
    ROW_COLUMNS,
    TRAINED,
    case_rows,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS, check_metrics
from nnunet_attention.evaluation.metrics.evaluate import measure
from nnunet_attention.evaluation.metrics.labels import LabelScheme, tolerances_mm
from nnunet_attention.files import parse_json, write_json
from nnunet_attention.maps.ablation.cases import (
    AblationCase,
    LoadedCase,
    OrdinaryPredictions,
    folder_or_temporary,
    load_case,
    predict_ordinary,
    to_segmentation,
)
from nnunet_attention.maps.ablation.predictor import AblationPredictor
from nnunet_attention.maps.ablation.randomised import with_random_gates
from nnunet_attention.maps.ablation.same_work import check_same_work, work_identity
from nnunet_attention.maps.ablation.settings import AblationSettings
from nnunet_attention.maps.ablation.substitutes import (
    Levels,
    check_replacements,
    next_of_another_group,
    seed_of,
    uniform_levels,
    variant_of,
)
from nnunet_attention.nnunet.summary_json import Label

Progress = Callable[[int, int], None]


def ablate(
    predictor: AblationPredictor,
    cases: Sequence[AblationCase],
    settings: AblationSettings = AblationSettings(),  # noqa: B008 it is immutable
    *,
    sanity: bool = False,
    store: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> pd.DataFrame:
    """Replace gates' coefficients in each case, and measure the effect on its segmentation.

    Args:
        predictor: a predictor with a trained model.
        cases: at least two cases, with their references.
        settings: what is replaced, and what is measured.
        sanity: whether to repeat everything with the gates' weights drawn anew.
        store: a folder that keeps finished cases for a resumed run; None keeps nothing.
        on_progress: called with the number of passes over cases that are done, and of all passes.

    Returns:
        A row for each `weights` (trained or randomised), case, set of `gates`, replacement, label
        and metric: `value`, `ordinary` (without replacement), `difference` (value - ordinary), and
        for the label `changed_share`, `false_positives_gained` and `false_negatives_gained`; see
        `case_rows`.

    Raises:
        CommandError: if there is only one case, or a gate, replacement or metric is not known.

    Examples:
        >>> predictor = AblationPredictor(device=torch.device("cpu"))
        >>> predictor.initialize_from_trained_model_folder(model_folder, use_folds=(0,))
        >>> case = AblationCase("one", (Path("one_0000.nii.gz"),), Path("labels/one.nii.gz"))
        >>> table = ablate(predictor, [case, other_case])
    """
    check_cases_and_settings(predictor, cases, settings)
    passes = 2 if sanity else 1
    total = 2 * passes * len(cases)
    frames = []
    with folder_or_temporary(store) as folder:
        # The results depend on what runs the network, which is known only once that is ready.
        predictor.make_ready()
        check_same_work(folder, work_identity(predictor, cases, settings))
        for number, weights in enumerate((TRAINED, RANDOMISED)[:passes]):
            begun = 2 * number * len(cases)
            with weights_of(predictor, weights, settings.seed):
                frames.append(
                    _ablate_with(
                        *(predictor, cases, settings, folder, weights),
                        partial(_tell, on_progress, begun, total),
                    )
                )
    return pd.concat(frames, ignore_index=True)


def _tell(on_progress: Progress, begun: int, total: int, done: int) -> None:
    on_progress(begun + done, total)


def check_cases_and_settings(
    predictor: AblationPredictor, cases: Sequence[AblationCase], settings: AblationSettings
) -> None:
    """Check everything that can be checked before the first prediction.

    Raises:
        CommandError: for the first thing that is wrong.
    """
    if len(cases) < 2:
        raise CommandError(
            f"{len(cases)} case: at least two are needed, as intervals and tests are over cases"
        )
    check_replacements(settings.replacements)
    check_metrics(settings.metrics)
    tolerances_of(predictor, settings)
    settings.gate_sets(predictor.gate_count)
    if settings.groups is not None and len(set(settings.groups.values())) < 2:
        raise CommandError("all cases are in one group; at least two groups are needed")


@contextmanager
def weights_of(predictor: AblationPredictor, weights: str, seed: int) -> Iterator[None]:
    """Let a predictor predict with randomised gates, or as it was trained, in a `with` block."""
    if weights != RANDOMISED:
        yield
        return
    # Those of the first fold may be the network's own tensors, into which nnU-Net loads the others.
    trained = [
        {key: values.clone() for key, values in one.items()} for one in predictor.list_of_parameters
    ]
    predictor.list_of_parameters = trained
    randomised = [with_random_gates(predictor.network, of_fold, seed) for of_fold in trained]
    with predictor.with_weights(randomised, "with random gates"):
        yield


def gates_name(gates: Sequence[int], count: int) -> str:
    """Return the name of a set of gates in tables, such as 0, 0+1 or all."""
    if count > 1 and len(set(gates)) == count:
        return ALL_GATES
    return "+".join(map(str, gates))


def _ablate_with(
    predictor: AblationPredictor,
    cases: Sequence[AblationCase],
    settings: AblationSettings,
    folder: Path,
    weights: str,
    on_progress: Callable[[int], None],
) -> pd.DataFrame:
    ordinary = OrdinaryPredictions(folder / weights / "ordinary")
    on_progress(0)
    for number, case in enumerate(cases, 1):
        predict_ordinary(predictor, case, ordinary)
        on_progress(number)
    means = [[[m.mean for m in of_fold] for of_fold in ordinary[c.name].maps] for c in cases]
    levels = uniform_levels(means)
    trained = OrdinaryPredictions(folder / TRAINED / "ordinary")
    rows = []
    for number, case in enumerate(cases, 1):
        path = folder / weights / "effects" / f"{case.name}.json"
        if not path.is_file():
            found = _effects_of(predictor, case, cases, settings, ordinary, levels, weights)
            if weights == RANDOMISED:
                found += _against(predictor, case, settings, trained, ordinary)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, found, allow_nan=True)
        rows += parse_json(path.read_text(encoding="utf-8"))
        on_progress(len(cases) + number)
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def _effects_of(
    predictor: AblationPredictor,
    case: AblationCase,
    cases: Sequence[AblationCase],
    settings: AblationSettings,
    ordinary: OrdinaryPredictions,
    levels: Levels,
    weights: str,
) -> list[dict]:
    loaded, own = load_case(predictor, case), ordinary[case.name]
    other = None
    if "other_case" in settings.replacements:
        names = [one.name for one in cases]
        other = ordinary[next_of_another_group(case.name, names, settings.groups)]
    chosen = list(product(settings.gate_sets(predictor.gate_count), settings.replacements))
    seed = seed_of(case.name, settings.seed)
    variants = [variant_of(name, gates, own, other, levels, seed) for gates, name in chosen]
    measured = Measured(predictor, settings, loaded, own.segmentation)
    rows = []
    logits = predictor.predict_variants(loaded.data, variants)
    for (gates, name), of_variant in zip(chosen, logits, strict=True):
        segmentation = to_segmentation(predictor, loaded, of_variant)
        head = {
            "weights": weights,
            "case": case.name,
            "gates": gates_name(gates, predictor.gate_count),
            "replacement": name,
        }
        rows += measured.rows(head, segmentation)
    return rows


def _against(
    predictor: AblationPredictor,
    case: AblationCase,
    settings: AblationSettings,
    trained: OrdinaryPredictions,
    randomised: OrdinaryPredictions,
) -> list[dict]:
    """Compare the prediction of randomised gates with that of the trained ones."""
    loaded = load_case(predictor, case)
    measured = Measured(predictor, settings, loaded, trained[case.name].segmentation)
    head = {
        "weights": TRAINED,
        "case": case.name,
        "gates": gates_name(range(predictor.gate_count), predictor.gate_count),
        "replacement": RANDOM_WEIGHTS,
    }
    return measured.rows(head, randomised[case.name].segmentation)


class Measured:
    """Measures segmentations of one case against its reference and its ordinary prediction.

    Args:
        predictor: the model's predictor.
        settings: names the metrics.
        loaded: the case.
        ordinary: the segmentation without replacement.
    """

    def __init__(
        self,
        predictor: AblationPredictor,
        settings: AblationSettings,
        loaded: LoadedCase,
        ordinary: np.ndarray,
    ):
        self.scheme = label_scheme(predictor)
        self._tolerance_mm = tolerances_of(predictor, settings)
        self._settings, self._reference, self._ordinary = settings, loaded.reference, ordinary
        self.ordinary_metrics = self.measure(ordinary)

    def measure(self, segmentation: np.ndarray) -> dict[str, dict[str, float]]:
        """Return the metrics by label key and metric key."""
        return measure(
            self._reference,
            replace(self._reference, labels=segmentation),
            self._tolerance_mm,
            self.scheme.ignore_label,
            surfaces=any(METRICS[name].is_surface for name in self._settings.metrics),
        )

    def rows(self, head: dict, segmentation: np.ndarray) -> list[dict]:
        """Return the rows of one replacement; see `case_rows`."""
        return case_rows(
            head,
            self._settings.metrics,
            self.scheme,
            (self._ordinary, self.ordinary_metrics),
            (segmentation, self.measure(segmentation)),
        )


def label_scheme(predictor: AblationPredictor) -> LabelScheme:
    """Return the labels that the predictor's data set has."""
    return LabelScheme.of_content(predictor.dataset_json, "the model's dataset.json")


def tolerances_of(predictor: AblationPredictor, settings: AblationSettings) -> dict[Label, float]:
    """Return the tolerance of normalised surface Dice for each label of the predictor's data set.

    Raises:
        CommandError: if the settings name a label that it does not have.
    """
    scheme = label_scheme(predictor)
    return tolerances_mm(scheme, settings.tolerance_mm, settings.label_tolerances_mm)
