"""Any network of torchvision or timm, by its name there."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from augrad.checks import PathName
from augrad.errors import UserError
from augrad.models.own import with_weights

_DECIDED = {
    "num_classes": "the classes are those of the data",
    "in_chans": "the channels are those of the data",
    "pretrained": "weights come from a file (model.weights)",
}
"""What is no setting here, and why."""


def torchvision_network(
    in_channels: int, class_count: int, name: str, weights: PathName | None = None, **settings: Any
) -> nn.Module:
    """A classifier of `torchvision.models`: images [B, in_channels, H, W] -> logits.

    name: as in `torchvision.models.list_models(torchvision.models)`, e.g. resnet50. weights: a file, see
    `augrad.models.own.with_weights`; None: none that are trained. settings: what its builder takes besides. For other
    than three channels the first convolution is made anew, with normal weights of the deviation that those of
    torchvision's have.
    Raises UserError for another name, a setting that this network does not have, and where no convolution of three
    channels can be made anew.
    """
    from torchvision import models

    network = _made("torchvision", models.list_models(models), name, settings, models.get_model, class_count, {})
    if in_channels != 3:
        _take_channels(network, in_channels, name)
    return with_weights(network, weights)


def timm_network(
    in_channels: int, class_count: int, name: str, weights: PathName | None = None, **settings: Any
) -> nn.Module:
    """A classifier of timm: images [B, in_channels, H, W] -> logits [B, class_count].

    name: as in `timm.list_models()`, e.g. resnet50. weights: as of `torchvision_network`. settings: what
    `timm.create_model` takes besides, e.g. drop_rate.
    Raises UserError where timm is not installed, for another name, and for a setting that this network does not have.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(f"model: expected timm to be installed ({error}); pip install 'augrad[interop]'") from error
    channels = {"in_chans": in_channels}
    network = _made("timm", timm.list_models(), name, settings, timm.create_model, class_count, channels)
    return with_weights(network, weights)


def _made(
    library: str,
    names: Sequence[str],
    name: object,
    settings: dict[str, Any],
    build: Callable[..., nn.Module],
    class_count: int,
    channels: dict[str, int],
) -> nn.Module:
    if name not in names:
        close = get_close_matches(str(name), names, n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else f"{library}'s list_models() has its names"
        raise UserError(f"model: expected the name of a classifier of {library}, got {name!r}; {advice}")
    for key in _DECIDED.keys() & settings.keys():
        raise UserError(f"model: expected settings of {name} other than {key}, which is decided: {_DECIDED[key]}")
    try:
        return build(name, num_classes=class_count, **channels, **settings)
    except Exception as error:  # of whatever this network's builder refuses
        raise UserError(
            f"model: {library} cannot build {name} with {settings}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def _take_channels(network: nn.Module, in_channels: int, name: str) -> None:
    first = next((key for key, module in network.named_modules() if isinstance(module, nn.Conv2d)), "")
    old = network.get_submodule(first)
    if not isinstance(old, nn.Conv2d) or old.in_channels != 3 or old.groups != 1:
        raise UserError(
            f"model: torchvision's {name} takes images of three channels, got {in_channels}; take model=timm, or a "
            "data set of colour images (data=folder has data.channels=3)"
        )
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # pyright: ignore[reportArgumentType]
        old.stride,  # pyright: ignore[reportArgumentType]
        old.padding,  # pyright: ignore[reportArgumentType]
        old.dilation,  # pyright: ignore[reportArgumentType]
        bias=old.bias is not None,
    )
    nn.init.normal_(new.weight, 0.0, float(old.weight.detach().std()))
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    network.set_submodule(first, new)
