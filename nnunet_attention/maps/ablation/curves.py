"""Measures, by deletion and insertion, whether large coefficients mark what a segmentation needs.

References:
    Petsiuk, Das, Saenko: RISE. BMVC 2018, https://arxiv.org/abs/1806.07421
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.curves import CURVE_COLUMNS, DELETION, INSERTION, ORDERS
from nnunet_attention.evaluation.metrics.definitions import METRICS, NEEDING_A_PREDICTION
from nnunet_attention.files import parse_json, write_json
from nnunet_attention.maps.ablation.cases import (
    AblationCase,
    OrdinaryPredictions,
    folder_or_temporary,
    load_case,
    predict_ordinary,
    to_segmentation,
)
from nnunet_attention.maps.ablation.effects import (
    TRAINED,
    Measured,
    Progress,
    check_cases_and_settings,
)
from nnunet_attention.maps.ablation.predictor import AblationPredictor, Substitute, Variant
from nnunet_attention.maps.ablation.same_work import check_same_work, work_identity
from nnunet_attention.maps.ablation.settings import AblationSettings
from nnunet_attention.maps.ablation.substitutes import seed_of

STEPS = 5


def deletion_curves(
    predictor: AblationPredictor,
    cases: Sequence[AblationCase],
    settings: AblationSettings = AblationSettings(),  # noqa: B008 it is immutable
    *,
    steps: int = STEPS,
    store: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> pd.DataFrame:
    """Shut the blocks of each gate's skip connection, or open only those, in three orders.

    In each order, a growing share of the image's blocks (see `block_maps`) is shut: those with the
    largest coefficients first (`attention`), in `random` order, or those with the largest Grad-CAM
    of the same skip connection first (`cam`). Blocks that are not shut keep the gate's own
    coefficients. With insertion, all blocks are shut, and a growing share is opened in that order.

    Args:
        predictor: a predictor with a trained model.
        cases: at least two cases, with their references.
        settings: the gates, each of which is taken by itself; the first metric; the seed.
        steps: in how many equal steps the share goes from 0 to 1.
        store: a folder that keeps finished cases for a resumed run; None keeps nothing.
        on_progress: called with the number of cases that are done, and of all cases.

    Returns:
        A row for each case, gate, order, direction (deletion or insertion), label and share, with
        the metric's `value`.

    Raises:
        CommandError: see `ablate` and `check_curve_metric`.
    """
    check_cases_and_settings(predictor, cases, settings)
    check_curve_metric(settings)
    sets = settings.gate_sets(predictor.gate_count)
    gates = sorted({gate for together in sets for gate in together})
    rows = []
    with folder_or_temporary(store) as folder:
        predictor.make_ready()
        check_same_work(folder, work_identity(predictor, cases, settings))
        ordinary = OrdinaryPredictions(folder / TRAINED / "ordinary")
        on_progress(0, len(cases))
        for number, case in enumerate(cases, 1):
            path = folder / TRAINED / f"curves_{steps}" / f"{case.name}.json"
            if not path.is_file():
                predict_ordinary(predictor, case, ordinary)
                found = _curves_of(predictor, case, settings, ordinary, gates, steps)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, found, allow_nan=True)
            rows += parse_json(path.read_text(encoding="utf-8"))
            on_progress(number, len(cases))
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def check_curve_metric(settings: AblationSettings) -> None:
    """Check that the first metric is defined at every point of a curve.

    Where a whole skip is shut, a network may predict nothing. A metric that is then undefined would
    leave out just the cases that lose most.

    Raises:
        CommandError: if it is not.
    """
    metric = settings.metrics[0]
    if metric in NEEDING_A_PREDICTION:
        known = ", ".join(name for name in METRICS if name not in NEEDING_A_PREDICTION)
        raise CommandError(
            f"--curves are about the first of --metrics, and {metric} is undefined where nothing "
            f"is predicted, as may be the case where a skip is shut; name one of {known} first"
        )


def _curves_of(
    predictor: AblationPredictor,
    case: AblationCase,
    settings: AblationSettings,
    ordinary: OrdinaryPredictions,
    gates: Sequence[int],
    steps: int,
) -> list[dict]:
    loaded, own = load_case(predictor, case), ordinary[case.name]
    cams = predictor.predict_cams(loaded.data)
    seed = seed_of(case.name, settings.seed)
    measured = Measured(predictor, settings, loaded, own.segmentation)
    chosen: list[tuple[dict, list[Variant]]] = []
    for gate in gates:
        all_shut: Variant = {gate: Substitute(0.0)}
        chosen.append(({"gate": gate}, [all_shut] * len(own.maps)))
        for order in ORDERS:
            ranks = []
            for fold, (maps, of_cam) in enumerate(zip(own.maps, cams, strict=True)):
                blocks = {"attention": maps[gate].blocks, "cam": of_cam[gate].blocks}.get(order)
                ranks.append(ranks_of(blocks, maps[gate].blocks.shape, [*seed, fold, gate]))
            for direction, step in product((DELETION, INSERTION), range(1, steps)):
                share = step / steps
                variant: list[Variant] = [{gate: _mask(one, direction, share)} for one in ranks]
                head = {"gate": gate, "order": order, "direction": direction, "share": share}
                chosen.append((head, variant))
    logits = predictor.predict_variants(loaded.data, [variant for _, variant in chosen])
    to_rows = partial(_rows, case.name, METRICS[settings.metrics[0]].key, measured)
    rows = []
    for (head, _), of_variant in zip(chosen, logits, strict=True):
        metrics = measured.measure(to_segmentation(predictor, loaded, of_variant))
        if "order" in head:
            rows += to_rows(head, metrics)
            continue
        # The two ends of a curve are the same in all orders.
        for order in ORDERS:
            for direction in (DELETION, INSERTION):
                first, last = measured.ordinary_metrics, metrics
                if direction == INSERTION:
                    first, last = last, first
                ends = {**head, "order": order, "direction": direction}
                rows += to_rows({**ends, "share": 0.0}, first)
                rows += to_rows({**ends, "share": 1.0}, last)
    return rows


def ranks_of(
    importance: np.ndarray | None, shape: tuple[int, ...], seed: Sequence[int]
) -> np.ndarray:
    """Return the rank of each block, 0 for the most important; ties are broken at random.

    Args:
        importance: by block; None for a random order.
        shape: number of blocks, by axis.
        seed: seed of the random numbers.
    """
    count = int(np.prod(shape))
    drawn = np.random.default_rng([*seed, 1]).permutation(count)
    keys = (drawn,) if importance is None else (drawn, -importance.ravel().astype(np.float64))
    ranks = np.empty(count, dtype=np.int64)
    ranks[np.lexsort(keys)] = np.arange(count)
    return ranks.reshape(shape)


def _mask(ranks: np.ndarray, direction: str, share: float) -> Substitute:
    first = ranks < round(share * ranks.size)
    passed = first if direction == INSERTION else ~first
    return Substitute(passed.astype(np.float32), multiplies=True)


def _rows(case: str, key: str, measured: Measured, head: dict, metrics: dict) -> list[dict]:
    values = {name: metrics[str(label)][key] for label, name in measured.scheme.names.items()}
    return [
        {"case": case, **head, "label": label, "value": float(value)}
        for label, value in values.items()
    ]
