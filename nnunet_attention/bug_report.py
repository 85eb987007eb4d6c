"""Writes what a bug report should say about a set-up, and nothing that identifies its owner."""

import builtins
import platform
import re
from collections.abc import Mapping
from importlib import metadata

from nnunet_attention.doctor import FOLDERS, examine_folder, probe_discovery
from nnunet_attention.versions import versions_of

# The packages that run in a training, a prediction or an evaluation.
_PACKAGES = (
    "nnunetv2",
    "torch",
    "dynamic-network-architectures",
    "batchgenerators",
    "batchgeneratorsv2",
    "acvl-utils",
    "blosc2",
    "numpy",
    "scipy",
    "scikit-image",
    "SimpleITK",
    "nibabel",
    "edt",
    "openvino",
    "onnxruntime",
    "onnx",
    "submitit",
)
# The name of a variable that is not listed may give something away.
_SETTINGS = (
    "CUDA_VISIBLE_DEVICES",
    "NNUNET_ATTENTION_AUTOREGISTER",
    "NNUNET_ATTENTION_CPU_BF16",
    "NNUNET_ATTENTION_KEEP_MEMORY",
    "NNUNET_ATTENTION_SEED",
    "NNUNET_ATTENTION_SHORT_SCHEDULE",
    "NNUNET_ATTENTION_SUPERVISION",
    "OMP_NUM_THREADS",
    "nnUNet_attention_epochs",
    "nnUNet_compile",
    "nnUNet_def_n_proc",
    "nnUNet_extTrainer",
    "nnUNet_n_proc_DA",
    "nnUNet_npp",
    "nnUNet_nps",
    "nnUNet_wandb_enabled",
)
# Any other value may be a path or a name.
_HARMLESS = re.compile(r"[\d.,-]{1,40}|true|false|t|f|on|off|yes|no", re.IGNORECASE)


def bug_report(environment: Mapping[str, str]) -> str:
    """Return a block of Markdown to paste: versions, system, device, discovery, settings.

    It consists of versions, numbers, our own words and hardware makers' names. It has no path, no
    message and no value of a variable, except values that are numbers or yes or no.
    """
    rows = [*_versions(), ("system", _system()), *_discovery(environment), *_settings(environment)]
    width = max(len(name) for name, _ in rows)
    lines = (f"{name:<{width}}  {value}" for name, value in rows)
    return "\n".join(("```text", *lines, "```"))


def _versions() -> list[tuple[str, str]]:
    found = versions_of(*_PACKAGES)
    return [
        (name, f"{version}{' (editable)' if _is_editable(name) else ''}")
        for name, version in found.items()
        if version is not None
    ]


def _is_editable(distribution: str) -> bool:
    try:
        origin = metadata.distribution(distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return False
    return origin is not None and re.search(r'"editable":\s*true', origin) is not None


def _system() -> str:
    # A kernel's full name may be one that somebody gave it.
    release = re.match(r"[\d.]*", platform.release())
    parts = [platform.system(), release[0] if release else "", platform.machine()]
    try:
        distribution = platform.freedesktop_os_release()
        parts += [distribution.get("ID", ""), distribution.get("VERSION_ID", "")]
    except OSError:
        # Only Linux has it.
        pass
    if "microsoft" in platform.release().lower():
        parts.append("WSL")
    return " ".join(part for part in parts if part)


def _discovery(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    route, report = probe_discovery(environment)
    if route is not None:
        discovery = f"works, {route}"
    else:
        # The message may name files, and so may the name of a user-defined exception.
        kind = (report["error"] or "").partition(":")[0]
        kind = kind if isinstance(getattr(builtins, kind, None), type) else "an error"
        discovery = f"fails ({kind}); see `nnunet-attention doctor`"
    rows = [("discovery", discovery)]
    if report["devices"] is None:
        return [*rows, ("device", "unknown, as torch could not be asked")]
    memories = report["memories_byte"]
    for number, device in enumerate(report["devices"]):
        size = f", {memories[number] / 2**30:.0f} GiB" if number < len(memories) else ""
        rows.append(("device", f"{device}{size}"))
    if report["cuda"]:
        rows.append(("cuda", report["cuda"]))
    if not report["devices"]:
        rows.append(("device", "CPU only"))
    return [*rows, ("threads", str(report["threads"]))]


def _settings(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    rows = [
        (name, _state_of_folder(name, environment.get(name), must_be_writable))
        for name, must_be_writable in FOLDERS.items()
    ]
    for name in _SETTINGS:
        if name in environment:
            value = environment[name]
            rows.append((name, value if _HARMLESS.fullmatch(value) else "(set)"))
    return rows


def _state_of_folder(name: str, value: str | None, must_be_writable: bool) -> str:
    if not value:
        return "not set"
    if examine_folder(name, value, must_be_writable).remedy is not None:
        return "wrong; see `nnunet-attention doctor`"
    return "in order"
