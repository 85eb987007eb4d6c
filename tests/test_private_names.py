"""Names of other packages that we lean on though nobody has promised that they stay.

nnU-Net documents its commands, not its classes. A release that renames one of these, or changes its
arguments, is met here by the test that bears its name.
"""

import ast
import inspect
import re
from pathlib import Path
from pydoc import locate

import pytest
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from repository import REPOSITORY
from smallest_plans import smallest_plans

_TRAINER = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer.nnUNetTrainer"
_AUGMENTER = (
    "batchgenerators.dataloading.nondet_multi_threaded_augmenter.NonDetMultiThreadedAugmenter"
)
_VARIANTS = "nnunetv2.training.nnUNetTrainer.variants"
_PREDICTOR = "nnunetv2.inference.predict_from_raw_data.nnUNetPredictor"
_PLANNERS = "nnunetv2.experiment_planning.experiment_planners"
_PLANNER = f"{_PLANNERS}.default_experiment_planner.ExperimentPlanner"
_RESIDUAL = f"{_PLANNERS}.residual_unets.residual_encoder_unet_planners"
_API = "nnunetv2.experiment_planning.plan_and_preprocess_api"
_UTILITIES = "nnunetv2.utilities"
_LABELS = f"{_UTILITIES}.label_handling.label_handling"
_PLANS = f"{_UTILITIES}.plans_handling.plans_handler"
_CONFIGURATION = f"{_PLANS}.ConfigurationManager"
_SCHEDULE = "nnunetv2.training.lr_scheduler.polylr.PolyLRScheduler"
_UNET = "dynamic_network_architectures.architectures.unet"
_DECODER = "dynamic_network_architectures.building_blocks.unet_decoder.UNetDecoder"
_PLANNING = (
    "dataset_name_or_id gpu_memory_target_in_gb preprocessor_name plans_name "
    "overwrite_target_spacing suppress_transpose"
)
_FILES = "list_of_lists_or_source_folder output_folder_or_list_of_truncated_output_files"

# What our classes override: the parameters, all of them and in this order.
OVERRIDDEN = {
    f"{_PLANNER}.determine_transpose": "",
    f"{_TRAINER}.__init__": "plans configuration fold dataset_json device",
    f"{_TRAINER}.build_network_architecture": "plans_manager configuration_manager "
    "num_input_channels num_output_channels enable_deep_supervision",
    f"{_TRAINER}.initialize": "",
    f"{_TRAINER}.run_training": "",
    f"{_TRAINER}.save_checkpoint": "filename",
    f"{_TRAINER}.train_step": "batch",
    f"{_TRAINER}.validation_step": "batch",
    f"{_TRAINER}.on_validation_epoch_start": "",
    f"{_TRAINER}.on_validation_epoch_end": "val_outputs",
    f"{_TRAINER}.get_dataloaders": "",
    f"{_TRAINER}.on_train_start": "",
    f"{_TRAINER}.on_epoch_start": "",
    f"{_TRAINER}.on_epoch_end": "",
    f"{_TRAINER}.on_train_epoch_start": "",
    f"{_TRAINER}.configure_optimizers": "",
    f"{_SCHEDULE}.step": "current_step",
    f"{_TRAINER}.do_split": "",
    f"{_TRAINER}._build_loss": "",
    f"{_TRAINER}.on_train_epoch_end": "train_outputs",
    f"{_TRAINER}.perform_actual_validation": "save_probabilities",
    f"{_PREDICTOR}.initialize_from_trained_model_folder": "model_training_output_dir use_folds "
    "checkpoint_name",
    f"{_PREDICTOR}.manual_initialization": "network plans_manager configuration_manager parameters "
    "dataset_json trainer_name inference_allowed_mirroring_axes",
    f"{_PREDICTOR}.predict_from_files_sequential": f"{_FILES} save_probabilities overwrite "
    "folder_with_segs_from_prev_stage",
    f"{_PREDICTOR}.predict_from_data_iterator": "data_iterator save_probabilities "
    "num_processes_segmentation_export",
    f"{_PREDICTOR}.predict_logits_from_preprocessed_data": "data",
    f"{_PREDICTOR}.predict_sliding_window_return_logits": "input_image",
    f"{_PREDICTOR}._internal_predict_sliding_window_return_logits": "data slicers do_on_device",
    f"{_PREDICTOR}._internal_maybe_mirror_and_predict": "x",
    f"{_PREDICTOR}._manage_input_and_output_lists": f"{_FILES} folder_with_segs_from_prev_stage "
    "overwrite part_id num_parts save_probabilities",
    f"{_PREDICTOR}._internal_get_data_iterator_from_lists_of_filenames": "input_list_of_lists "
    "seg_from_prev_stage_files output_filenames_truncated num_processes",
    f"{_PLANNER}.__init__": _PLANNING,
    f"{_RESIDUAL}.nnUNetPlannerResEncM.__init__": _PLANNING,
    f"{_RESIDUAL}.nnUNetPlannerResEncL.__init__": _PLANNING,
    f"{_RESIDUAL}.nnUNetPlannerResEncXL.__init__": _PLANNING,
    f"{_PLANNER}.generate_data_identifier": "configuration_name",
    f"{_PLANNER}.static_estimate_VRAM_usage": "patch_size input_channels output_channels "
    "arch_class_name arch_kwargs arch_kwargs_req_import",
    f"{_PLANNER}.get_plans_for_configuration": "spacing median_shape data_identifier "
    "approximate_n_voxels_dataset _cache",
    f"{_PLANNER}.plan_experiment": "",
    f"{_PLANNER}.save_plans": "plans",
    f"{_UNET}.PlainConvUNet.initialize": "module",
    f"{_UNET}.ResidualEncoderUNet.initialize": "module",
    f"{_UNET}.PlainConvUNet.forward": "x",
    f"{_UNET}.ResidualEncoderUNet.forward": "x",
    f"{_DECODER}.forward": "skips",
    f"{_DECODER}.compute_conv_feature_map_size": "input_size",
    "torch.nn.InstanceNorm2d.forward": "input",
    "torch.nn.InstanceNorm3d.forward": "input",
    "setuptools.command.build_py.build_py.run": "",
    "setuptools.command.build_py.build_py.get_outputs": "include_bytecode",
    "setuptools.command.editable_wheel.editable_wheel._select_strategy": "name tag build_lib",
    # Not overridden, but wrapped: the start-up file goes into its wheel.
    "setuptools.command.editable_wheel.EditableStrategy.__call__": "wheel files mapping",
}

# What we call: the parameters that we give, among others.
CALLED = {
    f"{_SCHEDULE}.__init__": "optimizer initial_lr max_steps",
    f"{_TRAINER}.print_to_log_file": "args",
    "nnunetv2.training.logging.nnunet_logger.WandbLogger.log": "key value step",
    f"{_TRAINER}.get_tr_and_val_datasets": "",
    f"{_PREDICTOR}.__init__": "tile_step_size use_gaussian use_mirroring "
    "perform_everything_on_device device verbose verbose_preprocessing allow_tqdm",
    f"{_PREDICTOR}.predict_from_files": f"{_FILES} save_probabilities overwrite "
    "num_processes_preprocessing num_processes_segmentation_export "
    "folder_with_segs_from_prev_stage",
    f"{_PREDICTOR}.predict_logits_from_preprocessed_data": "data",
    f"{_API}.extract_fingerprint_dataset": "dataset_id num_processes verbose",
    f"{_API}.plan_experiment_dataset": "dataset_id experiment_planner_class "
    "gpu_memory_target_in_gb overwrite_plans_name",
    "nnunetv2.inference.data_iterators.PreprocessAdapter.__init__": "list_of_lists "
    "list_of_segs_from_prev_stage_files preprocessor output_filenames_truncated plans_manager "
    "dataset_json configuration_manager",
    "nnunetv2.inference.data_iterators.PreprocessAdapterFromNpy.__init__": "list_of_images "
    "list_of_segs_from_prev_stage list_of_image_properties truncated_ofnames plans_manager "
    "dataset_json configuration_manager num_threads_in_multithreaded verbose",
    "nnunetv2.inference.export_prediction."
    "convert_predicted_logits_to_segmentation_with_correct_shape": "predicted_logits plans_manager "
    "configuration_manager label_manager properties_dict num_threads_torch",
    "nnunetv2.inference.export_prediction.export_prediction_from_logits": "predicted_array_or_file "
    "properties_dict configuration_manager plans_manager dataset_json_dict_or_file "
    "output_file_truncated save_probabilities",
    "nnunetv2.preprocessing.resampling.default_resampling.determine_do_sep_z_and_axis": ""
    "force_separate_z current_spacing new_spacing separate_z_anisotropy_threshold",
    "nnunetv2.preprocessing.resampling.default_resampling.resample_data_or_seg_to_shape": "data "
    "new_shape current_spacing new_spacing is_seg order order_z force_separate_z "
    "separate_z_anisotropy_threshold",
    "nnunetv2.inference.sliding_window_prediction.compute_gaussian": "tile_size sigma_scale "
    "value_scaling_factor dtype device",
    f"{_UTILITIES}.crossval_split.generate_crossval_split": "train_identifiers seed n_splits",
    f"{_UTILITIES}.dataset_name_id_conversion.find_candidate_datasets": "dataset_id",
    f"{_UTILITIES}.file_path_utilities.get_output_folder": "dataset_name_or_id trainer_name "
    "plans_identifier configuration",
    f"{_UTILITIES}.find_class_by_name.recursive_find_python_class": "folder class_name "
    "current_module",
    f"{_UTILITIES}.find_objects.recursive_find_trainer_class_by_name": "trainer_name",
    f"{_UTILITIES}.get_network_from_plans.get_network_from_plans": "arch_class_name arch_kwargs "
    "arch_kwargs_req_import input_channels output_channels allow_init deep_supervision",
    f"{_UTILITIES}.helpers.empty_cache": "device",
    f"{_UTILITIES}.json_export.recursive_fix_for_json_export": "my_dict",
    f"{_UTILITIES}.utils.get_filenames_of_train_images_and_targets": "raw_dataset_folder "
    "dataset_json",
    f"{_UTILITIES}.utils.get_identifiers_from_splitted_dataset_folder": "folder file_ending",
    f"{_LABELS}.LabelManager.__init__": "label_dict regions_class_order",
    f"{_LABELS}.convert_labelmap_to_one_hot": "segmentation all_labels output_dtype",
    f"{_LABELS}.determine_num_input_channels": "plans_manager configuration_or_config_manager "
    "dataset_json",
    f"{_PLANS}.ConfigurationManager.__init__": "configuration_dict",
    f"{_PLANS}.PlansManager.__init__": "plans_file_or_dict",
    f"{_PLANS}.PlansManager.get_configuration": "configuration_name",
    f"{_PLANS}.PlansManager.get_label_manager": "dataset_json",
    f"{_UNET}.PlainConvUNet.compute_conv_feature_map_size": "input_size",
    f"{_UNET}.ResidualEncoderUNet.compute_conv_feature_map_size": "input_size",
    "acvl_utils.cropping_and_padding.padding.pad_nd_image": "image new_shape return_slicer",
    f"{_AUGMENTER}.restart": "",
    "batchgenerators.utilities.file_and_folder_operations.save_json": "obj file",
    "torch.utils.flop_counter.FlopCounterMode.__init__": "display",
    "torch.utils.flop_counter.FlopCounterMode.get_total_flops": "",
}

# Attributes of classes, and names that are neither called nor overridden.
PRESENT = (
    # Its parameter has another name in the development branch: ours takes any.
    f"{_TRAINER}.load_checkpoint",
    *(
        f"{_VARIANTS}.training_length.nnUNetTrainer_Xepochs.nnUNetTrainer_{length}"
        for length in (
            *("1epoch", "5epochs", "10epochs", "20epochs", "50epochs", "100epochs", "250epochs"),
            *("500epochs", "750epochs", "2000epochs", "4000epochs", "8000epochs"),
        )
    ),
    f"{_VARIANTS}.data_augmentation.nnUNetTrainerNoMirroring.nnUNetTrainerNoMirroring",
    *(
        f"{_VARIANTS}.benchmarking.{name}.{name}"
        for name in (
            "nnUNetTrainerBenchmark_5epochs",
            "nnUNetTrainerBenchmark_5epochs_noDataLoading",
        )
    ),
    *(
        f"{_PLANS}.ConfigurationManager.{name}"
        for name in (
            *("batch_size", "network_arch_class_name", "network_arch_init_kwargs"),
            *("network_arch_init_kwargs_req_import", "patch_size", "preprocessor_class"),
            *("resampling_fn_data", "resampling_fn_seg", "previous_stage_name"),
            *("resampling_fn_probabilities", "spacing"),
        )
    ),
    *(
        f"{_PLANS}.PlansManager.{name}"
        for name in (
            *("experiment_planner_name", "image_reader_writer_class"),
            *("transpose_backward", "transpose_forward"),
        )
    ),
    f"{_LABELS}.LabelManager.foreground_labels",
    f"{_LABELS}.LabelManager.num_segmentation_heads",
    *(
        f"{_LABELS}.LabelManager.{name}"
        for name in ("has_regions", "convert_logits_to_segmentation")
    ),
    "nnunetv2.configuration.ANISO_THRESHOLD",
    "nnunetv2.configuration.default_num_processes",
    "nnunetv2.inference.sliding_window_prediction.compute_gaussian.cache_clear",
    "nnunetv2.paths.nnUNet_preprocessed",
    "nnunetv2.paths.nnUNet_results",
    "torch._dynamo.OptimizedModule",
    "torch.nn.modules.module._has_any_global_hook",
    "torch.ops.aten._unsafe_view",
    "torch.UntypedStorage._cdata",
)

# What the source of a class has: attributes of its objects, and texts, names and numbers that we
# read or repeat.
WRITTEN = {
    # Looked for among its variables, in trainers/loaded_weights.py.
    "nnunetv2.run.load_pretrained_weights.load_pretrained_weights": (
        *("(network, fname", "saved_model = torch.load(fname", "mod.load_state_dict("),
    ),
    _TRAINER: (
        "if not self.disable_checkpointing:",
        *("self.configuration_manager", "self.current_epoch", "self.device", "self.is_cascaded"),
        *("self.is_ddp", "self.label_manager", "self.local_rank", "self.network"),
        *("self.num_epochs", "self.num_input_channels", "self.num_iterations_per_epoch"),
        *("self.num_val_iterations_per_epoch", "self.output_folder", "self.save_every"),
        # Wrapped for bfloat16, in steps of training and validation alike.
        "output = self.network(data)",
        # The rates, read and set in trainers/finetuning.py.
        *("self.enable_deep_supervision", "self.initial_lr", "self.optimizer"),
        *("self.lr_scheduler.step(self.current_epoch)", "self.was_initialized"),
        # The log, read by nnunet/training_log.py.
        *("training_log_%d_%d_%d_%02.0d_%02.0d_%02.0d.txt", "f'Epoch {self.current_epoch}'"),
        *('f"Epoch time: ', "'Pseudo dice', [", 'f"predicting {k}"', '"Training done."'),
        '"Validation complete"',
        # Files and folders, named in nnunet/.
        *("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth", "debug.json"),
        *("'summary.json'", "'validation'", "splits_final.json", "'predicted_next_stage'"),
        # The split, made in nnunet/splits.py.
        "seed=12345, n_splits=5",
        # The checkpoint, read and written in weights/.
        *("'network_weights'", "'optimizer_state'", "'init_args'", "'trainer_name'"),
        "'inference_allowed_mirroring_axes'",
    ),
    _PREDICTOR: (
        *("self.allowed_mirroring_axes", "self.configuration_manager", "self.dataset_json"),
        *("self.device", "self.label_manager", "self.network", "self.plans_manager"),
        *("self.tile_step_size", "self.trainer_name", "self.use_gaussian", "self.use_mirroring"),
        "self.verbose_preprocessing",
        # How an engine learns which fold it is.
        *("for params in self.list_of_parameters", "self.network.load_state_dict(params)"),
        # The order of the mirrored passes, repeated in prediction/mirroring.py.
        "c for i in range(len(mirror_axes)) for c in itertools.combinations(mirror_axes, i + 1)",
    ),
    # The rule of thumb for GPU memory, repeated in cost/vram.py.
    _PLANNER: (
        *("self.dataset_name", "self.overwrite_target_spacing", "self.plans_identifier"),
        *("self.preprocessor_name", "self.suppress_transpose"),
        *("UNet_reference_val_2d = 85000000 ", "UNet_reference_val_3d = 560000000 "),
        *("UNet_reference_val_corresp_GB = 8\n", "UNet_reference_val_corresp_bs_2d = 12\n"),
        "UNet_reference_val_corresp_bs_3d = 2\n",
    ),
    f"{_RESIDUAL}.nnUNetPlannerResEncM": (
        *("UNet_reference_val_2d = 135000000\n", "UNet_reference_val_3d = 680000000\n"),
        "UNet_reference_val_corresp_GB = 8\n",
    ),
    f"{_RESIDUAL}.nnUNetPlannerResEncL": (
        *("UNet_reference_val_2d = 380000000 ", "UNet_reference_val_3d = 2100000000 "),
        "UNet_reference_val_corresp_GB = 24\n",
    ),
    f"{_RESIDUAL}.nnUNetPlannerResEncXL": (
        *("UNet_reference_val_2d = 560000000\n", "UNet_reference_val_3d = 3600000000\n"),
        "UNet_reference_val_corresp_GB = 40\n",
    ),
    # Read off this function of skimage's, and of scipy's, by engines/resampling.py.
    "nnunetv2.preprocessing.resampling.default_resampling.resample_data_or_seg": (
        "kwargs = {'mode': 'edge', 'anti_aliasing': False}",
        "order=order_z, mode='nearest'",
    ),
    _CONFIGURATION: ("self.configuration['resampling_fn_data_kwargs']",),
    # Ours sets the rates before and after.
    _SCHEDULE: ("self.ctr", "self.initial_lr", "self.max_steps", "self._last_lr"),
    # Workers are started with these seeds.
    _AUGMENTER: ("self.seeds[i]", "self.num_processes"),
    "torch._dynamo.OptimizedModule": ("_orig_mod",),
    # Asked as in its own call.
    "torch.nn.Module": (
        *("self._forward_pre_hooks", "self._forward_hooks"),
        *("self._backward_pre_hooks", "self._backward_hooks"),
    ),
}


def parameters_of(path: str) -> list[str]:
    return [name for name in inspect.signature(found(path)).parameters if name != "self"]


def found(path: str):
    thing = locate(path)
    assert thing is not None, f"{path} is gone"
    return thing


@pytest.mark.parametrize("path", OVERRIDDEN)
def test_what_we_override_has_the_parameters_of_ours(path):
    assert parameters_of(path) == OVERRIDDEN[path].split()


@pytest.mark.parametrize("path", CALLED)
def test_what_we_call_takes_what_we_give(path):
    wanted = CALLED[path].split()
    assert [name for name in parameters_of(path) if name in wanted] == wanted


@pytest.mark.parametrize("path", PRESENT)
def test_what_we_use_is_there(path):
    package, _, name = path.rpartition(".")
    # Operators of torch are made when they are asked for.
    assert hasattr(found(package), name) or locate(path) is not None


@pytest.mark.parametrize(
    ("path", "text"), [(path, text) for path, texts in WRITTEN.items() for text in texts]
)
def test_what_we_repeat_is_written_there(path, text):
    # Also what a comment follows, or the end of the source.
    assert text in inspect.getsource(found(path)) + "\n"


@pytest.fixture(scope="module")
def network():
    architecture = smallest_plans()["configurations"]["3d_fullres"]["architecture"]
    arguments = {
        name: locate(value) if name in architecture["_kw_requires_import"] and value else value
        for name, value in architecture["arch_kwargs"].items()
    }
    return found(f"{_UNET}.PlainConvUNet")(input_channels=1, num_classes=2, **arguments)


def test_the_decoder_holds_what_ours_takes_over_and_nothing_else(network):
    own = {name for name in vars(network.decoder) if not name.startswith("_")}
    modules = {name for name, _ in network.decoder.named_children()}
    assert isinstance(network.decoder, UNetDecoder)
    assert own - {"training"} == {"deep_supervision", "num_classes"}
    assert modules == {"encoder", "stages", "transpconvs", "seg_layers"}


@pytest.mark.parametrize(
    "name",
    [
        *("conv_op", "output_channels", "strides", "norm_op", "norm_op_kwargs", "kernel_sizes"),
        *("nonlin", "nonlin_kwargs", "dropout_op", "dropout_op_kwargs"),
    ],
)
def test_the_encoder_tells_how_it_is_built(network, name):
    assert hasattr(network.encoder, name)


def test_every_import_of_such_a_name_is_listed_here():
    listed = {*OVERRIDDEN, *CALLED, *PRESENT, *WRITTEN}
    parts = {path.rpartition(".")[0] for path in listed} | listed
    missing = sorted(path for path in imported_names() if path not in parts)
    assert not missing, f"list what is used of {', '.join(missing)}"


def imported_names() -> set[str]:
    """Import paths of all that our sources import of these packages and is not documented."""
    private = re.compile(
        r"(nnunetv2|dynamic_network_architectures|acvl_utils|batchgenerators|setuptools\.command|"
        r"torch\._\w+|torch\.utils\.flop_counter)\b"
    )
    names = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and private.match(node.module or ""):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources() -> list[Path]:
    folders = ("nnunet_attention", "trainers", "plans")
    return [
        REPOSITORY / "setup.py",
        *(path for one in folders for path in (REPOSITORY / one).rglob("*.py")),
    ]
