"""`nnunet-attention plan`: plans data sets for the attention U-Net, or converts existing plans."""

import argparse
import shlex
import sys
from pathlib import Path

from nnunet_attention.cli.numbers import positive
from nnunet_attention.cli.shared_arguments import add_datasets, refuse_ignored
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.planners import DEFAULT_PLANNER, OWN_PLANNER_NAMES, converted_name

HELP = (
    "plan data sets for the attention U-Net, its gates counted in the memory estimate; or give "
    "existing plans gates, all else unchanged (--from)"
)
GATE_START_NAMES = ("identity", "open", "he")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data sets, and how they are planned; flags as nnUNetv2_plan_experiment has them."""
    add_datasets(
        parser,
        "data sets, by number or name; the fingerprint is extracted where there is none",
    )
    parser.add_argument(
        "-pl",
        choices=OWN_PLANNER_NAMES,
        metavar="NAME",
        dest="planner",
        help=f"the planner: {', '.join(OWN_PLANNER_NAMES)} (default: {DEFAULT_PLANNER})",
    )
    parser.add_argument(
        "--from",
        metavar="PLANS",
        dest="source",
        help="convert these plans instead, for a like-for-like comparison: patch, batch and "
        "preprocessed data stay, the networks get gates. Written as Attention_PLANS",
    )
    parser.add_argument(
        "-c",
        nargs="+",
        metavar="CONFIG",
        dest="configurations",
        help="print costs and next commands for these configurations only; all are planned. Those "
        "that a data set does not have are skipped (default: all)",
    )
    parser.add_argument(
        "-gpu_memory_target",
        type=_positive,
        metavar="GB",
        help="memory to plan for (default: the planner's own, 8, 8, 24 and 40 GB)",
    )
    parser.add_argument(
        "-overwrite_plans_name",
        metavar="NAME",
        dest="plans_name",
        help="write the plans under this name (default: AttentionUNetPlans, "
        "AttentionResEncUNetMPlans and so on); a plans file of another content is never "
        "overwritten",
    )
    parser.add_argument(
        "--gate_full_resolution",
        action="store_true",
        help="gate the skip connection of the highest resolution too (default: ungated, as in the "
        "paper)",
    )
    parser.add_argument(
        "--output_transform",
        action="store_true",
        help="1x1x1 convolution and normalisation after each gate, as in the authors' code "
        "(default: none, as in the paper)",
    )
    parser.add_argument(
        "--gate_start",
        choices=GATE_START_NAMES,
        help="how the gates start: with the plain network's function (identity), open, or as "
        "nnU-Net initialises any convolution (he) (default: identity, not written into the plans)",
    )
    parser.add_argument(
        "-np", type=positive, metavar="N", help="processes for the fingerprint (default: 8)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Plans each data set; prints its costs and the commands that come next."""
    from nnunet_attention.plans import (
        PLANNERS,
        convert_plans,
        dataset_folder,
        dataset_name,
        plan_dataset,
    )

    if arguments.source and (arguments.planner or arguments.gpu_memory_target):
        raise CommandError(
            "--from keeps the patch and batch of the existing plans: leave out -pl and "
            "-gpu_memory_target, or plan anew without --from"
        )
    if arguments.source:
        refuse_ignored(
            {"-np": arguments.np}, "with --from, which extracts no fingerprint; leave it out"
        )
    for plans_name in (arguments.plans_name, arguments.source):
        if plans_name is not None and ("__" in plans_name or Path(plans_name).name != plans_name):
            raise CommandError(
                f"plans name {plans_name!r}: nnU-Net allows neither two underscores in a row nor a "
                "folder; give a name such as AttentionUNetPlans"
            )
    options = {
        "gate_full_resolution": arguments.gate_full_resolution,
        "output_transform": arguments.output_transform,
        "gate_start": arguments.gate_start,
    }
    for dataset in [dataset_name(given) for given in arguments.datasets]:
        folder = dataset_folder(dataset)
        if arguments.source:
            plans_name = arguments.plans_name or converted_name(arguments.source)
            convert_plans(folder, arguments.source, plans_name, **options)
        else:
            _, plans_name = plan_dataset(
                dataset,
                PLANNERS[arguments.planner or DEFAULT_PLANNER],
                gpu_memory_target_gb=arguments.gpu_memory_target,
                plans_name=arguments.plans_name,
                num_processes=arguments.np or 8,
                **options,
            )
        print(f"plans: {folder / f'{plans_name}.json'}")
        _print_costs_and_commands(folder, plans_name, arguments.configurations)
    return 0


def _print_costs_and_commands(folder: Path, plans_name: str, wanted: list[str] | None) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_attention.cli.describe import costs_of, print_costs
    from nnunet_attention.nnunet.dataset_json import number_of_cases, read_dataset_json
    from nnunet_attention.nnunet.dataset_names import number_of_dataset
    from nnunet_attention.plans import needs_preprocessing, read_plans

    plans = read_plans(folder / f"{plans_name}.json")
    dataset_json = read_dataset_json(folder / "dataset.json", channels=True)
    manager = PlansManager(plans)
    names = [name for name in plans["configurations"] if name in (wanted or [name])]
    for name in wanted or ():
        if name not in names:
            print(f"{folder.name} has no configuration {name}", file=sys.stderr)
    print_costs(costs_of(folder / f"{plans_name}.json", plans, dataset_json, names))
    cases = number_of_cases(dataset_json, str(folder / "dataset.json"))
    resolved = {name: manager.get_configuration(name).configuration for name in names}
    # The cascade's data are those of the configuration that it inherits from.
    to_do = {
        configuration["data_identifier"]: configuration.get("inherits_from", name)
        for name, configuration in resolved.items()
        if needs_preprocessing(folder, configuration, cases)
    }
    number = str(int(number_of_dataset(folder.name)))
    if to_do:
        command = ["nnUNetv2_preprocess", "-d", number, "-plans_name", plans_name, "-c"]
        print(shlex.join([*command, *to_do.values()]))
    ready = sorted({found["data_identifier"] for found in resolved.values()} - set(to_do))
    if ready:
        print(f"# preprocessed already: {', '.join(ready)}")
    for name in names:
        # With nnUNetTrainer too it is the attention U-Net: the plans name it.
        print(shlex.join(["nnUNetv2_train", number, name, "0", "-p", plans_name]))


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
