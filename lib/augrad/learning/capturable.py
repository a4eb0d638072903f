"""Which networks' passes may run as CUDA graphs."""

from jaxtyping import Float
from torch import Tensor, nn

from augrad.cuda_graphs import Graphs
from augrad.errors import UserError
from augrad.learning.network import drawn_by
from augrad.models.dropout import random_layers


def graphs_for(
    model: nn.Module, wanted: bool | None, images: Float[Tensor, "B C H W"], place: str = "cuda_graphs"
) -> Graphs:
    """What runs the passes of `model`: as CUDA graphs if that is wanted; None: if `can_be_captured`.

    images: a few, with which it is tried. place: what the setting is called. Raises UserError where graphs are wanted
    for a network that draws random numbers.
    """
    if wanted and (drawing := drawn_by(model, images)):
        raise UserError(
            f"{place}: the passes of a step share their dropout masks, which replays of a graph cannot, got a "
            f"network that draws ({drawing}); leave it out, or set it to false"
        )
    return Graphs(can_be_captured(model) if wanted is None else wanted)


def can_be_captured(model: nn.Module) -> bool:
    """Whether every module is one of PyTorch's or augrad's own that does the same at each call.

    Of other modules, and of hooks, nobody knows what they do in Python: a capture would freeze it. Passes that belong
    together share their dropout masks (see `augrad.learning.classifier.untouched`), which replays could not.
    """
    return not random_layers(model) and all(
        type(module).__module__.startswith(("torch.nn.", "augrad."))
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
        for module in model.modules()
    )
