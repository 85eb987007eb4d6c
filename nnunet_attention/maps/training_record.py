"""Records during training where the gates look, on fixed patches of the validation cases."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

from nnunet_attention.drawing import fullest_slice
from nnunet_attention.errors import CommandError
from nnunet_attention.files import remove, written_beside
from nnunet_attention.recorder import record_attention

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

EPOCHS_VARIABLE = "nnUNet_attention_epochs"
FOLDER = "attention"
# The fold's first cases, in the order of their names.
_CASES = 2


def epochs_to_record() -> frozenset[int]:
    """Read the environment variable `nnUNet_attention_epochs`, such as 3,6,10,60,150.

    Epoch 3 is the state after three epochs of training. If the variable is not set, there are none.

    Raises:
        CommandError: if the variable holds anything else.
    """
    text = os.environ.get(EPOCHS_VARIABLE, "")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise CommandError(
            f"{EPOCHS_VARIABLE}={text!r} must be epoch numbers of 1 or more, separated by commas, "
            "such as 3,6,10,60,150"
        )
    return frozenset(map(int, parts))


@dataclass(frozen=True)
class RecordedPatch:
    """Holds one patch and its gates' coefficients; arrays are on the network's grid.

    Attributes:
        case: the case that the patch is from.
        image: first channel, (*S), float16.
        reference: labels, (*S).
        coefficients: one array per gate, coarsest first, each (*G) on its own grid, float16.
    """

    case: str
    image: np.ndarray
    reference: np.ndarray
    coefficients: list[np.ndarray]


@dataclass(frozen=True)
class RecordedEpoch:
    """Holds what was recorded after an epoch; the spacing, in mm, is that of the patches' axes."""

    epoch: int
    spacing_mm: tuple[float, ...]
    patches: list[RecordedPatch]


def record_epoch(trainer: "nnUNetTrainer") -> Path:
    """Run the fixed patches through a trainer's network, and write `attention/epoch_0003.npz`.

    The patches are from the first two validation cases of the fold, around the slice that shows
    most of the reference. The network, random state and training state are left unchanged.

    Returns:
        The path of the file, in the fold's folder.
    """
    network = trainer.network.module if trainer.is_ddp else trainer.network
    # A compiled network runs no hooks.
    network = getattr(network, "_orig_mod", network)
    was_training = network.training
    network.eval()
    try:
        patches = [_record(trainer, network, *patch) for patch in _validation_patches(trainer)]
    finally:
        network.train(was_training)
    spacing_mm = trainer.configuration_manager.spacing
    folder = Path(trainer.output_folder) / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"epoch_{trainer.current_epoch:04d}.npz"
    arrays: dict[str, Any] = {
        f"{number}_{name}": value
        for number, patch in enumerate(patches)
        for name, value in (
            ("case", np.array(patch.case)),
            ("image", patch.image),
            ("reference", patch.reference),
            *((f"gate_{gate}", values) for gate, values in enumerate(patch.coefficients)),
        )
    }
    with written_beside(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, spacing_mm=np.array(spacing_mm), **arrays)
    return path


def set_recordings_aside(fold: Path) -> None:
    """Rename the folder with the recordings of an earlier training, which are not this one's.

    Those of a training before it are removed.
    """
    folder = fold / FOLDER
    if any(folder.glob("epoch_*.npz")):
        aside = fold / f"{FOLDER}_earlier"
        remove(aside)
        folder.rename(aside)


def read_recorded_epochs(fold: Path) -> list[RecordedEpoch]:
    """Read all recordings of a fold's folder, earliest first.

    Raises:
        CommandError: if there are none, or one is damaged.
    """
    paths = sorted((fold / FOLDER).glob("epoch_*.npz"))
    if not paths:
        raise CommandError(
            f"{fold} has no recorded attention maps ({FOLDER}/epoch_*.npz); train with "
            f"{EPOCHS_VARIABLE}=3,6,10,60,150 set, or continue training with it and --c"
        )
    epochs = [_read(path) for path in paths]
    return sorted(epochs, key=lambda one: one.epoch)


def _read(path: Path) -> RecordedEpoch:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            count = sum(name.endswith("_case") for name in arrays)
            gates = sum(name.startswith("0_gate_") for name in arrays)
            patches = [
                RecordedPatch(
                    str(arrays[f"{number}_case"]),
                    arrays[f"{number}_image"],
                    arrays[f"{number}_reference"],
                    [arrays[f"{number}_gate_{gate}"] for gate in range(gates)],
                )
                for number in range(count)
            ]
            spacing_mm = tuple(arrays["spacing_mm"].tolist())
        return RecordedEpoch(int(path.stem.removeprefix("epoch_")), spacing_mm, patches)
    except Exception as error:  # a damaged archive can fail in any way
        raise CommandError(f"{path} is damaged ({error}); remove it and draw the others") from error


def _validation_patches(trainer: "nnUNetTrainer") -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return name, network input (C, *S) and reference (*S) of the fixed patches."""
    _, dataset = trainer.get_tr_and_val_datasets()
    patches = []
    for case in sorted(dataset.identifiers)[:_CASES]:
        data, segmentation, previous, _ = dataset.load_case(case)
        data, reference = data[:], segmentation[:][0]
        if trainer.is_cascaded:
            one_hot = convert_labelmap_to_one_hot(
                previous[:], trainer.label_manager.foreground_labels, output_dtype=data.dtype
            )
            data = np.vstack((data, one_hot))
        # nnU-Net marks voxels outside its nonzero mask with -1. The ignored ones are no foreground.
        reference = np.maximum(reference, 0)
        reference[reference == trainer.label_manager.ignore_label] = 0
        patch_size = tuple(trainer.configuration_manager.patch_size)
        place = _place_of_patch(reference, patch_size)
        patches.append(
            (case, _cut(data, place, patch_size), _cut(reference[None], place, patch_size)[0])
        )
    return patches


def _place_of_patch(reference: np.ndarray, patch_size: tuple[int, ...]) -> tuple[int, ...]:
    """Return where the patch begins, z, y, x: it is centred on the fullest slice's foreground.

    A negative start asks for padding. A 2-D patch begins at its slice.
    """
    fullest = fullest_slice(reference)
    rows_and_columns = np.argwhere(reference[fullest] > 0)
    if rows_and_columns.size:
        middle = (fullest, *rows_and_columns.mean(0).round().astype(int).tolist())
    else:
        middle = tuple(size // 2 for size in reference.shape)
    begin = []
    sizes = (1,) * (3 - len(patch_size)) + patch_size
    for centre, size, there in zip(middle, sizes, reference.shape, strict=True):
        lacking = max(size - there, 0)
        first, last = (-(lacking // 2), there - size + lacking - lacking // 2)
        begin.append(int(np.clip(centre - size // 2, first, max(first, last))))
    return tuple(begin)


def _cut(volume: np.ndarray, begin: tuple[int, ...], patch_size: tuple[int, ...]) -> np.ndarray:
    """Cut (C, *patch_size) out of (C, Z, Y, X), with zeros beyond the volume."""
    sizes = (1,) * (3 - len(patch_size)) + patch_size
    patch = np.zeros((volume.shape[0], *sizes), dtype=volume.dtype)
    source, target = [slice(None)], [slice(None)]
    for first, size, there in zip(begin, sizes, volume.shape[1:], strict=True):
        low, high = max(first, 0), min(first + size, there)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    patch[tuple(target)] = volume[tuple(source)]
    return patch.reshape(volume.shape[0], *patch_size)


@torch.no_grad()
def _record(
    trainer: "nnUNetTrainer", network, case: str, data: np.ndarray, reference: np.ndarray
) -> RecordedPatch:
    image = torch.from_numpy(data)[None].to(trainer.device, torch.float32)
    on_gpu = trainer.device.type == "cuda"
    with (
        torch.autocast("cuda") if on_gpu else nullcontext(),
        record_attention(network) as maps,
    ):
        network(image)
    return RecordedPatch(
        case,
        data[0].astype(np.float16),
        reference.astype(np.int16),
        [attention_map[0, 0].cpu().to(torch.float16).numpy() for attention_map in maps.values()],
    )
