"""Files of published weights as checkpoints of our decoders, evaluated like trained ones."""

from pathlib import Path

import torch
from torch import Tensor

from spikereach.config import System
from spikereach.config.sessions import ZENODO
from spikereach.files import read_error
from spikereach.identity import file_checksum
from spikereach.kinds import Kind, mistaken
from spikereach.models import zoo
from spikereach.models.checkpoint import Checkpoint, load_parameters
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


def published_checkpoint(name: str, system: System, path: str | Path) -> Checkpoint:
    """The checkpoint of a published file, which its SHA-256 identifies.

    ``published`` in the configuration of ``system`` names the published system (default: ``name``);
    its sizes must be the published ones.

    Raises:
        WeightsError: unreadable file, the weights of another system or no published ones,
            or weights that do not fit the configured sizes.
        ConfigError: sizes that the architecture does not take.
    """
    publication = system.published or name
    tensors = import_weights(publication, path)
    sha256 = file_checksum(path)
    source = next((each for each in of_system(publication) if each.sha256 == sha256), None)
    if source is None:
        raise WeightsError(f"{path}: no published file of {publication} has its SHA-256 {sha256}")
    session = ZENODO[source.session]
    decoder = zoo.build(system, session.channels).eval()
    if any(tensor.dtype == torch.float16 for tensor in tensors.values()):
        decoder.half()
        decoder.weight_format = decoder.buffer_format = "float16"
    try:
        load_parameters(decoder, tensors)
    except ValueError as error:
        raise WeightsError(
            f"{path}: systems.{name}.sizes are not the published ones: {error}"
        ) from None
    return Checkpoint(
        decoder=decoder,
        system=system,
        system_name=name,
        dataset=session.name,
        monkey=session.monkey,
        areas=session.area_of_channels,
        seed=source.seed,
        provenance={"address": source.address, "sha256": sha256, "licence": source.licence},
    )


def import_weights(system: str, path: str | Path) -> dict[str, Tensor]:
    """Read a published file of ANN2, ANN3, SNN2, SNN3 or tinyRSNN, ``.pth`` or ``.pt``.

    Values keep the file's type: float16 for tinyRSNN, float32 for the others.

    Returns:
        parameters and buffers of our decoder, for `checkpoint.load_parameters`.
    Raises:
        WeightsError: unknown system, unreadable file, or the weights of another system.
    """
    of_system(system)
    try:
        if problem := mistaken(Path(path), Kind.PYTORCH):
            raise WeightsError(f"{path}: {problem}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # torch raises whatever zipfile, pickle or itself raises
        if problem := read_error(path, error):
            raise problem from error
        raise WeightsError(
            f"{path}: not a readable file of weights ({type(error).__name__}); fetch it again"
        ) from error
    if isinstance(content, dict):
        content = content.get("model_state_dict", content)  # SNN2: saved with its epoch
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: not a state dict of tensors")
    tensors = _from_stork(content, path) if system == "tinyRSNN" else dict(content)
    architecture = zoo.find("rsnn" if system == "tinyRSNN" else system.lower())
    with torch.device("meta"):
        expected = architecture(channels=1).state_dict().keys()
    missing, extra = expected - tensors.keys(), tensors.keys() - expected
    if missing or extra:
        raise WeightsError(
            f"{path}: not the weights of {system}: "
            f"missing {', '.join(sorted(missing)) or 'nothing'}; "
            f"unexpected {', '.join(sorted(extra)) or 'nothing'}"
        )
    return tensors


def _from_stork(tensors: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        kind = name.rpartition(".")[2]
        if "_param" in kind:
            first = f"group3.{kind}" if kind.endswith("_readout") else f"group2.{kind}"
            if first not in tensors or not torch.equal(tensors[first], tensor):
                raise WeightsError(f"{path}: {name} and {first} should be equal")
    return {ours: tensors[name] for name, ours in _RSNN_NAMES.items() if name in tensors}
