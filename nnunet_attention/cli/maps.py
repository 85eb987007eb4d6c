"""`nnunet-attention maps`: predicts as nnUNetv2_predict does, and shows where the gates look."""

import argparse
import os
import sys
from pathlib import Path

from nnunet_attention.cli.numbers import not_negative, positive
from nnunet_attention.cli.progress import case_lines
from nnunet_attention.cli.shared_arguments import (
    ALL_FOLDS,
    add_device,
    add_folds,
    refuse_ignored,
)
from nnunet_attention.errors import CommandError

HELP = (
    "predict images and write the attention maps of every gate in the images' space, with a "
    "picture of each case; flags as nnUNetv2_predict has them"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Images, model, and how it is run; what nnUNetv2_predict has is called as there."""
    parser.add_argument(
        "-i", type=Path, required=True, metavar="IMAGES", dest="images",
        help="folder of images, named CASE_0000 with the data set's file ending",
    )  # fmt: skip
    parser.add_argument(
        "-o",
        type=Path,
        required=True,
        metavar="OUT",
        dest="output",
        help="folder for the segmentations, as nnUNetv2_predict writes them; maps, picture and "
        "statistics of a case go to OUT/maps/CASE",
    )
    model = parser.add_argument_group("model", "either its folder, or what it was trained with")
    model.add_argument(
        "-m", type=Path, metavar="MODEL_FOLDER", dest="model_folder",
        help="the folder TRAINER__PLANS__CONFIGURATION",
    )  # fmt: skip
    model.add_argument("-d", metavar="ID", dest="dataset", help="data set, by number or name")
    model.add_argument("-c", metavar="CONFIG", dest="configuration", help="such as 3d_fullres")
    model.add_argument(
        "-tr", metavar="TRAINER", dest="trainer", help="(default: AttentionUNetTrainer)"
    )  # fmt: skip
    model.add_argument("-p", metavar="PLANS", dest="plans", help="(default: nnUNetPlans)")
    add_folds(model, "folds, averaged in segmentation and maps (default: 0 1 2 3 4)", ALL_FOLDS)
    model.add_argument(
        "-chk", metavar="NAME", dest="checkpoint", default="checkpoint_final.pth",
        help="(default: checkpoint_final.pth)",
    )  # fmt: skip
    shown = parser.add_argument_group("what is written")
    shown.add_argument(
        "--features",
        action="store_true",
        help="also the activation of each skip connection before and after its gate, averaged over "
        "channels",
    )
    shown.add_argument(
        "--html", action="store_true",
        help="also a page for each case to scroll through its slices, in any browser, offline",
    )  # fmt: skip
    shown.add_argument("--no_pictures", action="store_true", help="no PNG")
    shown.add_argument(
        "--full_range", action="store_true",
        help="colours of the picture from 0 to 1 (default: each map's 1st to 99th percentile)",
    )  # fmt: skip
    shown.add_argument(
        "-gt", type=Path, metavar="LABELS", dest="reference_folder",
        help="folder of label images, to be shown beside the predictions",
    )  # fmt: skip
    shown.add_argument(
        "--save_probabilities", action="store_true", help="also nnU-Net's probabilities"
    )
    running = parser.add_argument_group("running")
    add_device(running)
    running.add_argument(
        "-step_size", type=_step_size, default=0.5, metavar="SHARE",
        help="of the patch from one position to the next (default: 0.5)",
    )  # fmt: skip
    running.add_argument(
        "--disable_tta", "--no-mirroring", action="store_true", help="no mirroring"
    )
    running.add_argument(
        "--continue_prediction", "--c", action="store_true",
        help="keep the cases that are complete, and go on with the others",
    )  # fmt: skip
    running.add_argument(
        "-prev_stage_predictions", type=Path, metavar="FOLDER", dest="previous_stage",
        help="segmentations of the previous stage, for a cascade",
    )  # fmt: skip
    for name, what in (("npp", "preprocessing"), ("nps", "export")):
        running.add_argument(
            f"-{name}", type=not_negative, metavar="N", default=_from_environment(name),
            help=f"processes for {what}; 0: in this one (default: nnUNet_{name}, or 3)",
        )  # fmt: skip
    running.add_argument(
        "--not_on_device", action="store_true",
        help="stitch in main memory, for images too large for the GPU's",
    )  # fmt: skip
    running.add_argument(
        "-num_parts", type=positive, default=1, metavar="N",
        help="share the cases among N commands, each with its own -part_id (default: 1)",
    )  # fmt: skip
    running.add_argument(
        "-part_id", type=not_negative, default=0, metavar="N", help="0 to N - 1 (default: 0)"
    )
    running.add_argument("--disable_progress_bar", action="store_true", help="no progress bars")
    running.add_argument("--verbose", action="store_true", help="more of nnU-Net's messages")


def run(arguments: argparse.Namespace) -> int:
    """Predicts, and prints where the maps are."""
    from nnunet_attention.files import disk_error, require_writable
    from nnunet_attention.maps import AttentionPredictor, MapOptions

    _check_images(arguments.images)
    if arguments.part_id >= arguments.num_parts:
        raise CommandError(
            f"-part_id {arguments.part_id}: with -num_parts {arguments.num_parts} the parts are 0 "
            f"to {arguments.num_parts - 1}"
        )
    for flag, folder in (
        ("-gt", arguments.reference_folder),
        ("-prev_stage_predictions", arguments.previous_stage),
    ):
        if folder is not None and not folder.is_dir():
            raise CommandError(f"{flag} {folder}: there is no such folder")
    require_writable(arguments.output, "-o")
    terminal = sys.stderr.isatty()
    predictor = AttentionPredictor(
        tile_step_size=arguments.step_size,
        use_mirroring=not arguments.disable_tta,
        perform_everything_on_device=not arguments.not_on_device,
        device=_device(arguments.device),
        verbose=arguments.verbose,
        verbose_preprocessing=arguments.verbose,
        # In a log each step of a bar would be a line.
        allow_tqdm=terminal and not arguments.disable_progress_bar,
        on_progress=(lambda done, total: None) if terminal else case_lines("predicting"),
        options=MapOptions(
            features=arguments.features,
            picture=not arguments.no_pictures,
            page=arguments.html,
            full_range=arguments.full_range,
            reference_folder=arguments.reference_folder,
        ),
    )
    predictor.initialize_from_trained_model_folder(
        _model_folder(arguments), arguments.folds, arguments.checkpoint
    )
    _check_cases(arguments, predictor)
    _check_options(arguments, predictor)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
        predictor.predict_from_files(
            str(arguments.images),
            str(arguments.output),
            save_probabilities=arguments.save_probabilities,
            overwrite=not arguments.continue_prediction,
            num_processes_preprocessing=arguments.npp,
            num_processes_segmentation_export=arguments.nps,
            folder_with_segs_from_prev_stage=(
                None if arguments.previous_stage is None else str(arguments.previous_stage)
            ),
            num_parts=arguments.num_parts,
            part_id=arguments.part_id,
        )
    except OSError as error:
        raise CommandError(
            f"-o {arguments.output}: {error.filename or ''} {disk_error(error)}"
        ) from error
    print(f"segmentations: {arguments.output}\nmaps: {arguments.output / 'maps'}")
    return 0


def _model_folder(arguments: argparse.Namespace) -> Path:
    by_name = arguments.dataset is not None
    if by_name == (arguments.model_folder is not None):
        raise CommandError("give either the model's folder with -m, or -d and -c")
    if not by_name:
        refuse_ignored(
            {"-c": arguments.configuration, "-tr": arguments.trainer, "-p": arguments.plans},
            "with -m: the folder tells them; leave them out",
        )
        return arguments.model_folder
    if arguments.configuration is None:
        raise CommandError("-d wants -c too, such as -c 3d_fullres")
    from nnunetv2.paths import nnUNet_results
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    from nnunet_attention.plans import dataset_name

    if not nnUNet_results.get():
        raise CommandError("the environment variable nnUNet_results is not set; set it, or use -m")
    return Path(
        get_output_folder(
            dataset_name(arguments.dataset),
            arguments.trainer or "AttentionUNetTrainer",
            arguments.plans or "nnUNetPlans",
            arguments.configuration,
        )
    )


def _check_options(arguments: argparse.Namespace, predictor) -> None:
    """Refuses what would change nothing."""
    if predictor.configuration_manager.previous_stage_name is None:
        refuse_ignored(
            {"-prev_stage_predictions": arguments.previous_stage},
            "as the model is not the second stage of a cascade; leave it out",
        )
    if arguments.no_pictures:
        why = "with --no_pictures; leave one out"
        refuse_ignored({"--full_range": arguments.full_range}, why)
        if not arguments.html:
            refuse_ignored({"-gt": arguments.reference_folder}, f"{why}, or add --html")


def _check_images(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"-i {folder}: there is no such folder")


def _check_cases(arguments: argparse.Namespace, predictor) -> None:
    """Finds out before the first prediction what would end a later one."""
    ending = predictor.dataset_json["file_ending"]
    cases = _check_names(arguments.images, predictor)
    if predictor.configuration_manager.previous_stage_name is not None:
        stage = predictor.configuration_manager.previous_stage_name
        if arguments.previous_stage is None:
            raise CommandError(
                f"the model is the second stage of a cascade; predict {stage} first, and name the "
                "folder of its segmentations with -prev_stage_predictions"
            )
        _check_labels("-prev_stage_predictions", arguments.previous_stage, cases, ending)
    if arguments.reference_folder is not None:
        _check_labels("-gt", arguments.reference_folder, cases, ending)


def _check_names(folder: Path, predictor) -> list[str]:
    """The cases, each of which has the channels 0000 and so on that the model takes."""
    ending = predictor.dataset_json["file_ending"]
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(ending))
    if not names:
        raise CommandError(f"-i {folder}: there is no image; wanted are files CASE_0000{ending}")
    noted = [name for name in names if name.startswith("._")]
    if noted:
        raise CommandError(
            f"-i {folder}: {noted[0]} is no image, but what macOS notes about {noted[0][2:]}; "
            f"delete such files: find {folder} -name '._*' -delete"
        )
    numbers: dict[str, list[str]] = {}
    for name in names:
        case, separator, number = name[: -len(ending)].rpartition("_")
        if not (case and separator and len(number) == 4 and number.isdecimal()):
            raise CommandError(
                f"-i {folder}: {name} has no channel in its name; wanted are files "
                f"CASE_0000{ending}, such as {name[: -len(ending)]}_0000{ending}"
            )
        numbers.setdefault(case, []).append(number)
    wanted = [f"{channel:04d}" for channel in range(predictor.image_channels)]
    for case, given in numbers.items():
        _check_channels(folder, case, given, wanted, predictor)
    return sorted(numbers)


def _check_channels(
    folder: Path, case: str, given: list[str], wanted: list[str], predictor
) -> None:
    ending = predictor.dataset_json["file_ending"]
    known = wanted[0] if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]}"
    unknown = [number for number in given if number not in wanted]
    if unknown:
        raise CommandError(
            f"-i {folder}: case {case} has the channel(s) {', '.join(given)}, but the model takes "
            f"{known}; a case of its own is named {case}_{unknown[0]}_0000{ending}"
        )
    missing = [f"{case}_{number}{ending}" for number in wanted if number not in given]
    if missing and not (given == ["0000"] and _holds_all(folder, case, len(wanted), predictor)):
        raise CommandError(
            f"-i {folder}: case {case}: {', '.join(missing)} missing; the model takes "
            f"{len(wanted)} channel(s) of each case"
        )


def _holds_all(folder: Path, case: str, channels: int, predictor) -> bool:
    """Whether the first file of a case holds all channels, as pictures hold their colours."""
    from nnunet_attention.maps.inputs import header_of

    path = folder / f"{case}_0000{predictor.dataset_json['file_ending']}"
    header = header_of(path, predictor.reader)
    return header is None or header.channels == channels


def _check_labels(flag: str, folder: Path, cases: list[str], ending: str) -> None:
    missing = [case for case in cases if not (folder / f"{case}{ending}").is_file()]
    if missing:
        raise CommandError(
            f"{flag} {folder}: {len(missing)} of {len(cases)} label images missing, the first is "
            f"{missing[0]}{ending}"
        )


def _device(name: str):
    """As nnUNetv2_predict sets it up."""
    import multiprocessing

    import torch

    if name == "cuda":
        if not torch.cuda.is_available():
            raise CommandError("-device cuda: torch finds no GPU; use -device cpu")
        torch.set_num_threads(1)
    elif name == "mps" and not torch.backends.mps.is_available():
        raise CommandError("-device mps: torch finds no Apple GPU; use -device cpu")
    elif name == "cpu":
        torch.set_num_threads(multiprocessing.cpu_count())
    return torch.device(name)


def _from_environment(name: str) -> int:
    """nnU-Net's variables nnUNet_npp and nnUNet_nps; what is no number is passed over, as there."""
    text = os.environ.get(f"nnUNet_{name}", "")
    return int(text) if text.isdigit() else 3


def _step_size(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return number
