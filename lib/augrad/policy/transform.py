"""A policy as a torchvision transform: for data sets and data loaders, one sample after another."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from augrad.engines.choice import alone
from augrad.engines.numba.engine import apply_alone
from augrad.errors import UserError
from augrad.ops.numeric import check_images
from augrad.ops.targets import Augmented, check_targets, move_targets
from augrad.policy.application import apply_draw, checked_call
from augrad.policy.distributions import HardNoise
from augrad.policy.draws import Fixed, draw_alone, fixed
from augrad.policy.policy import Policy
from augrad.types import PolicySample

_ALPHA = {"RGBA": "RGB", "LA": "L", "PA": "RGB", "RGBa": "RGB", "La": "L"}
"""What is left of a PIL mode without its transparency."""
_MORE_THAN_8_BITS = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_UPRIGHT = ("XYXY", "XYWH", "CXCYWH")


class _Known(NamedTuple):
    """What draws need of the parameters, and what these were: by value, as writes to `.data` leave no other trace."""

    places: tuple[int, ...]
    views: tuple[np.ndarray, ...]
    values: tuple[bytes, ...]
    fixed: Fixed

    @staticmethod
    def of(tensors: Sequence[Tensor], found: Fixed) -> "_Known":
        views = tuple(tensor.detach().numpy() for tensor in tensors)
        return _Known(_places(tensors), views, tuple(view.tobytes() for view in views), found)

    def is_of(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the parameters are these, and what they were."""
        return self.places == _places(tensors) and self.values == tuple(view.tobytes() for view in self.views)


def _places(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in tensors)


class PolicyTransform(v2.Transform):
    """A policy as a `torchvision.transforms.v2.Transform`; `augrad.Policy.to_torchvision` makes it.

    It takes what torchvision's transforms take, one sample at a time: a PIL image of 8 bits, a tensor [..., C, H, W]
    (uint8, or floating point in [0, 1]), or any structure of `tv_tensors` with masks, boxes and key points, which move
    with their image. Each call is one draw for all that belongs to the sample, frames of a video too; it comes from
    PyTorch's global generator, so that workers of a data loader differ and `torch.manual_seed` repeats. Transparency
    moves with its picture; pictures that are neither grey nor RGB become RGB.
    policy: the copy that it applies; changes of the policy that it was made from do not reach it.
    A call raises UserError for pictures of more than 8 bits and boxes that are turned, and as `Policy.forward` does.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        if mixing := [op.name for op in self.policy.ops if op.kind == "mix"]:
            raise UserError(
                f"to_torchvision: expected operations on one image, got {', '.join(mixing)}, which takes another one "
                "of the batch; apply this policy to batches, in the training loop"
            )
        self._fixed: _Known | None = None

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """One draw for all that belongs to the sample."""
        return {"draw": _Draw(self.policy, self.policy.draw_noise(1))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """`inpt`, an image, a video, masks, boxes or key points, as the draw changes it."""
        draw: _Draw = params["draw"]
        if isinstance(inpt, Tensor) and inpt.layout != torch.strided:
            raise UserError(f"to_torchvision: expected a tensor with all its values, got one of {inpt.layout}")
        match inpt:
            case Image.Image():
                return self._picture(inpt, draw)
            case tv_tensors.Mask():
                found = self._moved(inpt, draw.sample, (inpt.shape[-2], inpt.shape[-1]), "masks")
            case tv_tensors.BoundingBoxes():
                found = self._boxes(inpt, draw.sample)
            case tv_tensors.KeyPoints():
                found = self._moved(inpt, draw.sample, inpt.canvas_size, "keypoints")
            case _:
                found = self._pixels(inpt.as_subclass(Tensor), draw)
        if not isinstance(inpt, tv_tensors.TVTensor):
            return found
        return tv_tensors.wrap(found, like=inpt)  # pyright: ignore[reportCallIssue]

    def _pixels(self, images: Tensor, draw: "_Draw", **targets: Tensor) -> Any:
        """images: [..., C, H, W], all by the same draw."""
        policy = self.policy
        if images.dim() == 3 and not targets and (codes := alone(policy._application.plan, images)) is not None:
            check_images(images[None])
            if (drawn := draw.alone(self._known())) is not None:
                nearest, (chosen, magnitude) = policy.interpolation == "nearest", drawn
                found = apply_alone(
                    images[None].contiguous().numpy(), codes[chosen], magnitude, draw.noise.draw, policy.fill, nearest
                )
                return torch.from_numpy(found[0])
        if images.dim() < 3:
            raise UserError(f"to_torchvision: expected images [..., C, H, W], got shape {tuple(images.shape)}")
        batch = images.flatten(0, -4) if images.dim() > 3 else images[None]
        given = checked_call(Augmented(batch, **targets), None, policy.ops, False, False)
        sample = draw.sample.expand(len(batch)) if len(batch) != 1 else draw.sample
        found, _ = apply_draw(policy._application, given, sample, policy.fill, policy.interpolation, replayed=False)
        return found if targets else found.view(images.shape)

    def _known(self) -> Fixed | None:
        """What draws need of the parameters, worked out again where they are others; None on a GPU."""
        tensors = self.policy.params.tensors()
        if not tensors[0].is_cpu:
            return None
        if self._fixed is None or not self._fixed.is_of(tensors):
            self._fixed = _Known.of(tensors, fixed(self.policy.params, self.policy.tables))
        return self._fixed.fixed

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fixed": None}

    def _picture(self, picture: Image.Image, draw: "_Draw") -> Image.Image:
        if picture.mode in _MORE_THAN_8_BITS:
            raise UserError(
                f"to_torchvision: expected a picture of 8 bits, got mode {picture.mode!r}; bring its values to 0..255 "
                "first, or give a tensor of floating point in [0, 1]"
            )
        if picture.mode in ("L", "RGB"):
            return _to_picture(self._pixels(_to_tensor(picture), draw)[None])
        if picture.mode in _ALPHA or "transparency" in picture.info:
            mode = _ALPHA.get(picture.mode, "RGB")
            with_alpha = picture.convert("LA" if mode == "L" else "RGBA")
            alpha = _to_tensor(with_alpha.getchannel("A"))
            found = self._pixels(_to_tensor(with_alpha.convert(mode)), draw, masks=alpha)
            result = _to_picture(found.images)
            result.putalpha(_to_picture(found.masks[None]))
            return result
        return self._picture(picture.convert("L" if picture.mode == "1" else "RGB"), draw)

    def _boxes(self, boxes: tv_tensors.BoundingBoxes, sample: PolicySample) -> Tensor:
        if boxes.format.name not in _UPRIGHT:
            raise UserError(
                f"to_torchvision: expected boxes as {', '.join(_UPRIGHT)}, got {boxes.format.name}; give the corners "
                "of turned boxes as key points"
            )
        convert = v2.functional.convert_bounding_box_format
        between = partial(convert, old_format=boxes.format, new_format=tv_tensors.BoundingBoxFormat.XYXY)
        back = partial(convert, old_format=tv_tensors.BoundingBoxFormat.XYXY, new_format=boxes.format)
        plain = boxes.as_subclass(Tensor)
        exact = plain if plain.is_floating_point() else plain.double()  # half of a whole side is none
        moved = back(self._moved(between(exact), sample, boxes.canvas_size, "boxes"))
        return moved if plain.is_floating_point() else moved.round().to(plain.dtype)

    def _moved(self, target: Tensor, sample: PolicySample, size: tuple[int, int], name: str) -> Tensor:
        plain = target.as_subclass(Tensor)
        image = torch.empty((), device=plain.device).expand(1, 1, *size)  # only its size counts
        rows = plain.reshape(1, -1, *plain.shape[-2:] if name == "masks" else plain.shape[-1:])
        given = Augmented(image, **{name: rows})
        check_targets(given, self.policy.ops)
        moved = move_targets(given, image, self.policy.ops, sample.to(plain.device))
        return getattr(moved, name).reshape(plain.shape)


@dataclass
class _Draw:
    """One draw of the policy, worked out as far as it is asked for."""

    policy: Policy
    noise: HardNoise

    @cached_property
    def sample(self) -> PolicySample:
        return self.policy.sample_from(self.noise)

    def alone(self, known: Fixed | None) -> tuple[np.ndarray, np.ndarray] | None:
        return None if known is None else draw_alone(known, self.noise)


def _to_tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()


def _to_picture(images: Tensor) -> Image.Image:
    pixels = images[0]
    return Image.fromarray((pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous()).numpy())
