"""Files of published weights as parameters and buffers of our decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikereach.published.weights import WeightsError, of_system

#: Liu et al.'s names for tinyRSNN's parameters, and ours. Their file holds the time constants
#: once more under each connection of a group.
_RSNN_NAMES = {
    "con1.op.weight": "input.weight",
    "con2.op.weight": "recurrent.weight",
    "con3.op.weight": "readout.weight",
    "group2.mem_param": "mem_param",
    "group2.syn_param": "syn_param",
    "group3.mem_param_readout": "readout_mem_param",
    "group3.syn_param_readout": "readout_syn_param",
}

_LINEAR = {f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")}
_ANN = _LINEAR | {
    f"batchnorm{i}.{kind}"
    for i in (1, 2)
    for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def _leaky(*layers: str) -> set[str]:
    names = ("threshold", "beta", "graded_spikes_factor", "reset_mechanism_val")
    return {f"{layer}.{name}" for layer in layers for name in names}


#: Tensors of each system's decoder.
_NAMES = {
    "ANN2": _ANN,
    "ANN3": _ANN,
    "SNN2": {"fc1.weight", "fc_out.weight"} | _leaky("lif1", "lif_out"),
    "SNN3": _LINEAR
    | {"norm_layer.weight", "norm_layer.bias", "v_x", "v_y"}
    | _leaky("lif1", "lif2", "lif3"),
    "tinyRSNN": set(_RSNN_NAMES.values()),
}


def import_weights(system: str, path: str | Path) -> dict[str, Tensor]:
    """Read a published file into the parameters and buffers of our decoder.

    Values keep the file's type: float16 for tinyRSNN, float32 for the others.

    Args:
        system: ANN2, ANN3, SNN2, SNN3 or tinyRSNN.
        path: the published file, ``.pth`` or ``.pt``.
    Returns:
        a state dict for `checkpoint.load_parameters`.
    Raises:
        WeightsError: unknown system, unreadable file, or the weights of another system.
    """
    of_system(system)
    tensors = _tensors(_read(path), path)
    if system == "tinyRSNN":
        tensors = _from_stork(tensors, path)
    _check_names(system, tensors, path)
    return tensors


def _read(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever zipfile, pickle or itself raises
        raise WeightsError(
            f"{path}: not a readable file of weights ({type(error).__name__}); fetch it again"
        ) from error


def _tensors(content: Any, path: str | Path) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get("model_state_dict"), dict):
        content = content["model_state_dict"]  # SNN2: saved with its epoch
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: not a state dict of tensors")
    return dict(content)


def _from_stork(tensors: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        kind = name.rpartition(".")[2]
        if "_param" in kind:
            first = f"group3.{kind}" if kind.endswith("_readout") else f"group2.{kind}"
            if first not in tensors or not torch.equal(tensors[first], tensor):
                raise WeightsError(f"{path}: {name} and {first} should be equal")
    return {ours: tensors[name] for name, ours in _RSNN_NAMES.items() if name in tensors}


def _check_names(system: str, tensors: dict[str, Tensor], path: str | Path) -> None:
    expected = _NAMES[system]
    missing, extra = expected - tensors.keys(), tensors.keys() - expected
    if missing or extra:
        raise WeightsError(
            f"{path}: not the weights of {system}: "
            f"missing {', '.join(sorted(missing)) or 'nothing'}; "
            f"unexpected {', '.join(sorted(extra)) or 'nothing'}"
        )
