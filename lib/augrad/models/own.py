"""A network of the user's own, built by their function; and weights from a file, for any network."""

import importlib
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from augrad.checks import PathName, few
from augrad.errors import AugradWarning, UserError
from augrad.paths import expanded


def own_network(
    in_channels: int, class_count: int, path: str | None, weights: PathName | None = None, **settings: Any
) -> nn.Module:
    """The classifier that the function at `path` builds: images [B, in_channels, H, W] -> logits [B, class_count].

    path: "mypackage.net:build", or "net.py:build" for a file. The function is called as
    `build(in_channels=..., class_count=..., **settings)`. weights: see `with_weights`.
    Raises UserError where there is no such function, where it cannot be called so, and for what is no network.
    """
    if not isinstance(path, str) or not all(path.rpartition(":")):
        words = "expected mypackage.net:build or net.py:build, a module or a file and a function in it"
        raise UserError(f"model.path: {words}, got {path!r}")
    build = _function(path)
    try:
        inspect.signature(build).bind(in_channels=in_channels, class_count=class_count, **settings)
    except (TypeError, ValueError) as error:
        name = path.rpartition(":")[2]
        more = "".join(f", {key}" for key in settings)
        called = f"{name}(in_channels={in_channels}, class_count={class_count}{more})"
        raise UserError(
            f"model.path: {path} is called as {called}, which it does not take ({error}); "
            f"write: def {name}(in_channels, class_count{more}): return a torch.nn.Module"
        ) from None
    network = build(in_channels=in_channels, class_count=class_count, **settings)
    if not isinstance(network, nn.Module):
        raise UserError(f"model.path: expected {path} to return a torch.nn.Module, got {type(network).__name__}")
    return with_weights(network, weights)


def with_weights(network: nn.Module, weights: PathName | None) -> nn.Module:
    """The network, which begins with the tensors in the file `weights` that it has by name and shape; None: as it is.

    The file is one of `torch.save`, a state dict, alone or under "state_dict", "model" or "model_state". What the
    network has and the file has not, as the last layer for other classes, stays as it was, and is told in a warning.
    Raises UserError for a file that cannot be read, where no tensor fits, and for NaN in one that does.
    """
    if weights is None:
        return network
    own, given = network.state_dict(), _tensors_of(weights)
    taken = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
    if not any(name in taken for name, _ in network.named_parameters()):
        raise UserError(
            f"model.weights: {weights}: no tensor has the name and shape of one of the network, which has "
            f"{few(list(own))}; the file has {few(list(given))}"
        )
    for name, value in taken.items():
        dense = value.layout is torch.strided and not value.is_meta
        if not dense or own[name].is_floating_point() != value.is_floating_point():
            kind = value.dtype if dense else "a tensor without its numbers" if value.is_meta else f"{value.layout}"
            raise UserError(
                f"model.weights: {weights}: expected {name} as {own[name].dtype}, or another precision, got {kind}; "
                "write it with torch.save(network.state_dict(), FILE)"
            )
    # An infinite value may be meant, as in the mask of an attention.
    floating = (name for name, value in taken.items() if value.is_floating_point())
    if bad := [name for name in floating if bool(taken[name].double().isnan().any())]:
        raise UserError(f"model.weights: {weights}: expected numbers, got NaN in {few(bad)}; take another file")
    network.load_state_dict(taken, strict=False)
    if left := [name for name, _ in network.named_parameters() if name not in taken]:
        words = f"model.weights: {weights}: begins without {few(left)}, which the file has not in this shape"
        warnings.warn(words, AugradWarning, stacklevel=2)
    return network


def _tensors_of(weights: PathName) -> dict[str, Tensor]:
    file = expanded(weights)
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"model.weights: {weights}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        objects = "Unsupported global" in str(error)
        got = "Python objects, a whole network perhaps, which are never loaded" if objects else "none, or a damaged one"
        raise UserError(
            f"model.weights: {weights}: expected the state dict of a network, as it is written by "
            f"torch.save(network.state_dict(), FILE), got {got}"
        ) from error
    for key in ("state_dict", "model", "model_state"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    items = found.items() if isinstance(found, dict) else ()
    tensors = {name: value for name, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"model.weights: {weights}: expected a state dict, tensors by name, got {type(found).__name__}")
    return tensors


def _function(path: str) -> Callable[..., Any]:
    place, _, name = path.rpartition(":")
    module = _file(place) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"model.path: {place} has no function {name}; it has {few(there)}")
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"model.path: cannot import {name} ({error}); start with PYTHONPATH=., or name the file, as in net.py:build"
        ) from error


def _file(place: str) -> ModuleType:
    file = expanded(place)
    if not file.is_file():
        raise UserError(f"model.path: {place}: no such file")
    name = "augrad_own" + re.sub(r"\W", "_", str(file.resolve()))  # another for each file
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that what it defines can be pickled
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"model.path: {place}: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    return module
