"""Defines the settings of a demo."""

from dataclasses import asdict, dataclass

from nnunet_attention import __version__
from nnunet_attention.nnunet.model_folders import ALL
from nnunet_attention.nnunet.planners import STOCK_PLANS

DEFAULT_CASES = 20
CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres")
FOLDS = ("0", "1", "2", "3", "4", ALL)
DEFAULT_EPOCHS = 8
# Enough to learn the phantom's organs in a minute on two CPU cores, and Task04_Hippocampus in two
# minutes.
DEFAULT_ITERATIONS, DEFAULT_ITERATIONS_ON_DATA = 25, 40
# nnU-Net plans patches for 8 GB of GPU memory, on which a CPU takes seconds per step. With this
# much, patches have about 15,000 voxels, and a step takes a fraction of a second.
_PLANNED_MEMORY_ON_CPU_GB = 0.05
# Validation steps after each epoch; nnU-Net only logs their results.
VALIDATION_ITERATIONS = 1


@dataclass(frozen=True)
class Model:
    """One of the networks that the demo compares.

    Attributes:
        trainer: Name of the trainer, as for `nnUNetv2_train -tr`.
        name: Readable name.
    """

    trainer: str
    name: str


PLANS = STOCK_PLANS
MODELS = (
    Model("nnUNetTrainer_short", "U-Net"),
    Model("AttentionUNetTrainer_short", "Attention U-Net"),
)


@dataclass(frozen=True)
class DemoSettings:
    """Everything that a demo folder's content depends on.

    Attributes:
        data: Absolute path of an MSD task folder; None for the phantom.
        cases: How many cases to use, held-out ones included; None: 20, or all where there are
            fewer.
        folds: Folds of a five-fold split, each of which holds out a fifth of the cases; or
            ("all",), a single training on all cases but a fifth.
        configuration: nnU-Net's configuration, one of `CONFIGURATIONS`.
        device: The device, cpu, cuda or mps, as for `nnUNetv2_train`.
        epochs: Epochs of each training.
        iterations: Training steps per epoch.
        seed: Seed of the phantom and of the choice of cases.
    """

    data: str | None = None
    cases: int | None = None
    folds: tuple[str, ...] = ("0",)
    configuration: str = "3d_fullres"
    device: str = "cpu"
    epochs: int = DEFAULT_EPOCHS
    iterations: int = DEFAULT_ITERATIONS
    seed: int = 0

    def as_stored(self) -> dict:
        """Return the settings for JSON, with the values derived from them and our version."""
        return {
            **asdict(self),
            "folds": list(self.folds),
            "planned_memory_gb": self.planned_memory_gb,
            "version": __version__,
        }

    @property
    def planned_memory_gb(self) -> float | None:
        """The GPU memory that nnU-Net plans patches for; None leaves it to nnU-Net."""
        if self.data is None or self.device != "cpu":
            return None
        return _PLANNED_MEMORY_ON_CPU_GB

    @property
    def schedule(self) -> str:
        """The length of a training, in the form that the short trainers read."""
        return f"{self.epochs},{self.iterations},{VALIDATION_ITERATIONS}"

    @property
    def processes(self) -> int:
        """The size of nnU-Net's pools; the phantom's work is shorter than a worker's start."""
        return 1 if self.data is None else 2
