"""What is trained, on what, with which seeds, and the rules by which it is judged.

The rules were fixed before any training; the images changed after a pilot. A difference is a mean
over patients of Dice, paired by seed and patient; its interval and tests are over patients and
trainings as `nnunet_attention.evaluation.statistics.repeats` has them. A single phantom has too few
of both for verdicts, which are about the mean over the data sets of a group (`GROUPS`). Data sets
are taken as independent: each has images and trainings of its own, and seeds of its own.

1. The primary questions are whether the attention U-Net and the supervised one differ from stock
   nnU-Net and from the wide U-Net on a group, in domain. A network is *better* or *worse* where the
   p-value, corrected by Holm over all primary questions, is below 5 %, and *equivalent*, which
   comes first, where two one-sided tests at 5 % show the difference to lie within `MARGIN`; else it
   is *undecided*. Undecided is never told as equal. Equivalence is not corrected. Questions that do
   not count, or are not finished, are counted in the correction all the same. Everything else is
   secondary: it is shown with intervals that are not corrected, and never called better or worse.
2. Gates help on a group only where the attention U-Net is better than stock nnU-Net, and it is the
   gates, rather than their parameters, only where it is better than the wide U-Net as well.
3. Distractors matter where the difference to stock, in the mean over the shares of foreground, is
   another with distractors than without, and size matters where its slope over the binary logarithm
   of the share is not 0; of both networks, in domain, with p corrected by Holm over these questions
   together. Each needs `FEWEST_COUNTED` shares that count, and rule 5 holds for them too. Thirds of
   patients by the structure's size are shown beside it, and decide nothing.
4. Out of domain everything is secondary.
5. Hippocampus is the null control: its structures are large and have no look-alikes. Its four
   questions are corrected among themselves. If a network is better or worse there, nothing is
   claimed from differences elsewhere that are not larger. If it does not count, nothing is claimed.
6. A data set on which stock nnU-Net's mean Dice, in that domain, lies outside of `Data.informative`
   has a ceiling or a floor: its row is shown, and left out of all means over groups, contrasts and
   slopes. With distractors the floor is above the Dice of a network that marks every organ. A group
   of several data sets counts only if `FEWEST_COUNTED` of them do.
7. After a warm start, gates help only where the upgraded network, trained on, is better than the
   stock network that was trained on with the same batches; these questions are corrected among
   themselves.
8. The supervised trainer is recommended only if by rules 1 and 5 it is better than both stock and
   wide on the real data set or on the phantoms with distractors, 2d or 3d; and in domain is worse
   than stock nowhere, the null control and the warm start included and whatever rule 5 says; and
   out of domain every group counts and none has an interval of 95 % below 0: less is asked for harm
   than for a gain.

Before any other training of a part, stock nnU-Net is trained once on its data sets in `PILOT`. Each
must lie within `Data.informative`, the shifted images of phantoms too, and with distractors the
Dice must be lower by `ROOM` than without in 2d, for there is no more to be gained from context.
Otherwise the design is changed, by stock nnU-Net's numbers alone, and the pilot repeated: below a
floor the part's trainings become longer, without room the contrast lower. The first pilot, with a
contrast of 20 for all organs (14 out of domain, with a noise of 50), left .035 and .017 in 2d; with
300 steps, that of Hippocampus had a Dice of .005, that of the sarcomas 0, and one of the two in 3d,
which have become three since, 0. See the page.

No training of the present design is left out, whatever comes out. One is repeated, the pilot's on
the sarcomas, since only its mean Dice was kept; the study uses the second training, as decided
before that began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.hippocampus.schedules import STOCK, WIDE, Variant
from benchmarks.where_gates_help.phantom import DRAWING, Recipe
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.precision import VARIABLE as PRECISION_VARIABLE
from nnunet_attention.nnunet.supervision import VARIABLE as SUPERVISION_VARIABLE
from nnunet_attention.nnunet.supervision import Supervision
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE

IN_DOMAIN, OUT_OF_DOMAIN = "in", "out"
# With what a title in a table goes on.
DOMAINS = {IN_DOMAIN: "", OUT_OF_DOMAIN: ", out of domain"}

MARGIN = 0.01
_FLOOR, _CEILING = 0.2, 0.98
# Of a network that uses context, above one that marks every organ.
_BY_CONTEXT = 0.1
ROOM = 0.05
FEWEST_COUNTED = 3
# Of the trainings of a data set; added to a number of the data set's own.
SEEDS = (0, 1, 2)
_SEEDS_OF_A_DATA_SET = 10
# Added to the seed for the second half of a training, so that it sees other batches than the first.
WARM_SEEDS = 1000

# Of a run; what follows a training can be done while others are trained.
TRAININGS, PREDICTIONS = STEPS = ("trainings", "predictions")

ATTENTION = Variant("Attention U-Net", "attention", "AttentionUNetTrainer_short")
SUPERVISED = Variant(
    "Attention U-Net, supervised", "supervised", "AttentionUNetSupervisedTrainer_short"
)
SUPERVISION = Supervision(0.5, 1)
# The first is the baseline.
NETWORKS = {variant.folder: variant for variant in (STOCK, WIDE, ATTENTION, SUPERVISED)}
# Each with what it is compared with, in the tables' order.
COMPARISONS = (
    ("wide", "stock"),
    ("attention", "stock"),
    ("attention", "wide"),
    ("supervised", "stock"),
    ("supervised", "wide"),
    ("supervised", "attention"),
)
WARM_COMPARISONS = (
    ("attention", "stock"),
    ("supervised", "stock"),
    ("supervised", "attention"),
)

# Those that rule 1 decides.
PRIMARY_COMPARISONS = tuple(
    (first, second) for first in ("attention", "supervised") for second in ("stock", "wide")
)

FOREGROUNDS = (0.002, 0.005, 0.01, 0.02)
DISTRACTORS = (0, 3)
# So noisy and so faint that stock nnU-Net, the only network by which this is chosen, can improve:
# the contrast of a shell times the mean radius of organs in voxels. The shell of a larger organ has
# more voxels. With one contrast for all, large organs were told apart nearly always, and small ones
# hardly ever.
NOISE, CONTRAST_TIMES_RADIUS = 40.0, 70.0
# Out of domain: by what the contrast is multiplied, and the noise.
SHIFTED_CONTRAST, SHIFTED_NOISE = 0.8, 45.0
# A case costs seconds where a training costs minutes, and which organ is marked decides its Dice.
TRAINED_CASES, VALIDATED_CASES, SHIFTED_CASES = 20, 60, 60
# Validation cases, the first by name, whose coefficients are kept and replaced. With fewer than
# about ten, nothing that replaces them can be significant.
MAPPED_CASES = 12


@dataclass(frozen=True)
class Data:
    """One data set.

    Attributes:
        dataset: nnU-Net's name.
        title: its title in tables.
        source: its folder within that of `--data`; None for a phantom.
        recipe: the recipe of the phantom's images; None for real data.
    """

    dataset: str
    title: str
    source: str | None = None
    recipe: Recipe | None = None

    @property
    def number(self) -> int:
        """The number that nnU-Net knows it by."""
        return int(number_of_dataset(self.dataset))

    @property
    def first_seed(self) -> int:
        """The seed of the first training; no other data set has it."""
        return _SEEDS_OF_A_DATA_SET * self.number

    @property
    def informative(self) -> tuple[float, float]:
        """The floor and the ceiling of stock nnU-Net's mean Dice, by rule 6."""
        if self.recipe is None or not self.recipe.distractors:
            return _FLOOR, _CEILING
        # All organs are equally large: marking all of 1 + n gives 2 / (2 + n).
        return 2 / (2 + self.recipe.distractors) + _BY_CONTEXT, _CEILING

    def is_informative(self, stock: float) -> bool:
        """Tell whether stock nnU-Net's mean Dice is neither at the floor nor at the ceiling."""
        low, high = self.informative
        return low <= stock <= high

    @property
    def shifted(self) -> Recipe | None:
        """The recipe of the images of a phantom out of domain; None for real data."""
        if self.recipe is None:
            return None
        contrast = _rounded(SHIFTED_CONTRAST * self.recipe.contrast)
        return replace(self.recipe, contrast=contrast, noise=SHIFTED_NOISE)

    @property
    def images(self) -> dict | None:
        """What the images of a phantom are drawn from, as JSON has it; None for real data."""
        if self.recipe is None or self.shifted is None:
            return None
        recipe = {**asdict(self.recipe), "shape": list(self.recipe.shape)}
        return {
            "recipe": recipe,
            "shifted": {"contrast": self.shifted.contrast, "noise": self.shifted.noise},
            "cases": [TRAINED_CASES, VALIDATED_CASES, SHIFTED_CASES],
            "seed": self.number,
            "drawing": DRAWING,
        }


def _rounded(contrast: float) -> float:
    return round(contrast, 1)


def recipe_of(share: float, others: int) -> Recipe:
    """Return the recipe of the phantom with a share of foreground and a number of distractors."""
    radius = Recipe(share).radius
    return Recipe(share, others, _rounded(CONTRAST_TIMES_RADIUS / radius), NOISE)


def _phantoms() -> tuple[Data, ...]:
    """List the phantoms: numbers from 61, each share of foreground without distractors and with."""
    pairs = [(share, others) for others in DISTRACTORS for share in FOREGROUNDS]
    return tuple(
        Data(
            f"Dataset{number:03d}_Distractors",
            f"phantom, {100 * share:g} % foreground, "
            + (f"{others} distractors" if others else "no distractors"),
            recipe=recipe_of(share, others),
        )
        for number, (share, others) in enumerate(pairs, 61)
    )


PHANTOMS = _phantoms()
SARCOMA = Data(
    "Dataset051_SoftTissueSarcomaCT", "soft-tissue sarcoma, CT", "Dataset051_SoftTissueSarcomaCT"
)
HIPPOCAMPUS = Data("Dataset004_Hippocampus", "hippocampus, MRI", "msd/Task04_Hippocampus")


@dataclass(frozen=True)
class Part:
    """Data sets that are trained alike.

    Attributes:
        name: the value for `--only`, and the name of its folder of results.
        data: the data sets, in their order.
        planned: the configuration that nnU-Net plans.
        batch_size: batch size of the trainings.
        epochs: epochs of each training.
        iterations: iterations in an epoch.
        folds: the folds that are trained.
        warm: whether a training starts from the stock network of the same data set and seed, which
            another part has trained.
    """

    name: str
    data: tuple[Data, ...]
    planned: str
    batch_size: int
    epochs: int
    iterations: int
    folds: tuple[str, ...] = ("0",)
    warm: bool = False

    @property
    def configuration(self) -> str:
        """The name in the plans, of half the plans' channels and a batch of its own."""
        return f"{self.planned}_half"

    @property
    def networks(self) -> tuple[Variant, ...]:
        """The networks that are trained; a wider one cannot start from stock weights."""
        return tuple(
            variant for name, variant in NETWORKS.items() if not (self.warm and name == "wide")
        )

    @property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """Which network is compared with which."""
        return WARM_COMPARISONS if self.warm else COMPARISONS

    @property
    def trainings(self) -> int:
        """The number of trainings."""
        return len(self.data) * len(self.networks) * len(self.folds) * len(SEEDS)

    @property
    def has_shifted_images(self) -> bool:
        """Whether images out of domain are predicted."""
        return not self.warm and self.data[0].recipe is not None

    @property
    def schedule(self) -> dict:
        """How long and on what a network is trained, as JSON has it."""
        return {
            "configuration": self.configuration,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "iterations": self.iterations,
        }

    def variables(self) -> dict[str, str]:
        """Return the environment variables of a training: its length, and what must not differ.

        Whatever else a variable of this package could change is set too, so that no setting of the
        shell gets into the study.
        """
        return {
            "NNUNET_ATTENTION_SHORT_SCHEDULE": f"{self.epochs},{self.iterations},1",
            SUPERVISION_VARIABLE: str(SUPERVISION),
            PRECISION_VARIABLE: "0",
            # A training in one process can be repeated to the last bit.
            WORKERS_VARIABLE: "0",
            # Of the processes that export the validation cases, nnU-Net starts eight by default,
            # which takes two cores longer than all exports.
            "nnUNet_def_n_proc": "1",
            # Otherwise threads that wait for work take the processor from whatever else runs: two
            # trainings at once on two cores take twice as long.
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
            "PYTHONUNBUFFERED": "1",
        }

    def crossval_arguments(
        self,
        data: Data,
        trainers: Sequence[str],
        processes: int,
        *,
        repeats: int = len(SEEDS),
        seed: int = SEEDS[0],
        folds: Sequence[str] | None = None,
    ) -> list[str]:
        """Return the arguments of `nnunet-attention` that train networks on one data set.

        Args:
            data: the data set.
            trainers: names of the trainers.
            processes: number of processes of preprocessing.
            repeats: number of trainings of each network.
            seed: of the first of them, added to the data set's own.
            folds: None for all of the part.
        """
        first = str(data.first_seed + seed)
        return [
            *("crossval", "-d", data.dataset, "-c", self.configuration, "-tr", *trainers),
            *("-f", *(folds or self.folds), "--repeats", str(repeats), "--seed", first),
            *("-device", "cpu", "-np", str(processes), "--no-leaderboard"),
        ]


PHANTOM_2D = Part("phantom_2d", PHANTOMS, "2d", 8, 12, 25)
# After 300 steps stock nnU-Net marks nothing on the phantom of 0.5 % with distractors.
PHANTOM_3D = Part("phantom_3d", PHANTOMS, "3d_fullres", 2, 24, 25)
# The phantom of 0.5 % with distractors.
WARM = Part("warm", PHANTOMS[5:6], "2d", 8, 12, 25, warm=True)
# After 300 steps stock nnU-Net marks nothing on these two.
REAL_SARCOMA = Part("sarcoma", (SARCOMA,), "2d", 4, 48, 25, ("0", "1", "2", "3", "4"))
REAL_HIPPOCAMPUS = Part("hippocampus", (HIPPOCAMPUS,), "2d", 8, 48, 25)
PARTS = {part.name: part for part in (PHANTOM_2D, WARM, REAL_SARCOMA, REAL_HIPPOCAMPUS, PHANTOM_3D)}
# Whose stock trainings of the first seed, and the first fold, come before anything else.
PILOT = (
    *((PHANTOM_2D, PHANTOMS[place]) for place in (1, 3, 4, 5, 7)),
    (REAL_SARCOMA, SARCOMA),
    (REAL_HIPPOCAMPUS, HIPPOCAMPUS),
    *((PHANTOM_3D, PHANTOMS[place]) for place in (4, 5, 7)),
)
# Equal shares of foreground, without distractors and with.
ROOM_BETWEEN = ((PHANTOMS[1], PHANTOMS[5]), (PHANTOMS[3], PHANTOMS[7]))


@dataclass(frozen=True)
class Group:
    """Data sets of a part that are judged together, by the mean over them.

    Attributes:
        part: name of the part.
        title: its title in tables.
        data: the data sets.
        family: the questions whose p-values are corrected together.
    """

    part: str
    title: str
    data: tuple[Data, ...]
    family: str

    @property
    def fewest_counted(self) -> int:
        """The number of data sets that must count."""
        return min(FEWEST_COUNTED, len(self.data))

    @property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """The pairs of networks that are decided, in domain."""
        return WARM_COMPARISONS if self.family == AFTER_WARM_START else PRIMARY_COMPARISONS


PRIMARY, CONTROL, AFTER_WARM_START = "primary", "null control", "warm start"
CROWDED = {
    PHANTOM_2D.name: "phantoms with distractors, 2d",
    PHANTOM_3D.name: "phantoms with distractors, 3d",
}


def _groups() -> tuple[Group, ...]:
    half = len(FOREGROUNDS)
    groups = []
    for part in (PHANTOM_2D, PHANTOM_3D):
        plain = CROWDED[part.name].replace("with", "without")
        groups += [
            Group(part.name, CROWDED[part.name], PHANTOMS[half:], PRIMARY),
            Group(part.name, plain, PHANTOMS[:half], PRIMARY),
        ]
    return (
        *groups,
        Group(REAL_SARCOMA.name, SARCOMA.title, (SARCOMA,), PRIMARY),
        Group(REAL_HIPPOCAMPUS.name, HIPPOCAMPUS.title, (HIPPOCAMPUS,), CONTROL),
        Group(WARM.name, f"warm start, {WARM.data[0].title}", WARM.data, AFTER_WARM_START),
    )


GROUPS = _groups()
