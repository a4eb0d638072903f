"""The parts that `augrad.learn` is given: whether they are of their kind, and how a checkpoint knows them again."""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.control import ControlledEstimator
from augrad.estimators.estimate import Estimator
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.objectives.objective import Objective
from augrad.regularizers.regularizer import Regularizer


def require_parts(given: Mapping[str, tuple[object, Any, str]]) -> None:
    """Raises UserError for a part that is not of its kind. given: the part, its kind and what to do, by argument."""
    for argument, (part, kind, advice) in given.items():
        if inspect.isclass(part):
            got = f"the class {part.__name__}; write {part.__name__}()"
        elif not isinstance(part, kind):
            got = f"{part!r:.200}"
        elif why := _cannot_be_called(part, kind):
            got = f"{part!r:.200} ({why})"
        else:
            continue
        name = getattr(kind, "__name__", "Policy")
        raise UserError(f"{argument}: expected {'an' if name[0] in 'EO' else 'a'} {name}, got {got}; {advice}")


def _cannot_be_called(part: object, kind: Any) -> str:
    """Why the part cannot be called with what a part of its kind is called with; empty where it can, or need not."""
    if kind not in (Objective, Estimator, Hypergradient, Regularizer):
        return ""
    _, *names = inspect.signature(kind.__call__).parameters
    called_with = [*names, "control"] if isinstance(part, ControlledEstimator) else names
    try:
        inspect.signature(part).bind(*called_with)  # type: ignore[arg-type]
    except TypeError as error:
        return f"it is called with {', '.join(called_with)}: {error}"
    except ValueError:  # written in C, without a signature
        return ""
    return ""


def require_builder(model: object, data: Splits) -> None:
    """Raises UserError for what is neither a module nor can be called to build one."""
    if isinstance(model, nn.Module):
        return
    channels = data.image_shape[0]
    try:
        inspect.signature(model).bind(in_channels=channels, class_count=data.class_count)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UserError(
            "model: expected a torch.nn.Module, or what builds one when called as "
            f"model(in_channels={channels}, class_count={data.class_count}), got {model!r:.200} ({error})"
        ) from None


def described(value: Any) -> Any:
    """A part as plain values, alike for parts that are alike: for a checkpoint, and for a policy's provenance."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(key): described(item) for key, item in value.items()}
        case list() | tuple():
            return [described(item) for item in value]
        case Tensor():
            return described(value.tolist())
        case partial():
            return {"_target_": _name(value.func), **described(value.keywords)}
    own = {field.name: described(getattr(value, field.name)) for field in fields(value)} if is_dataclass(value) else {}
    return {"_target_": _name(value), **own}


def _name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
