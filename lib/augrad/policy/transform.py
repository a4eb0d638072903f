"""A policy as a torchvision transform: for data sets and data loaders, one sample after another."""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from augrad.errors import UserError
from augrad.ops.targets import Augmented, check_targets, move_targets
from augrad.policy.application import apply_draw, checked_call
from augrad.policy.policy import Policy
from augrad.types import PolicySample

_ALPHA = {"RGBA": "RGB", "LA": "L", "PA": "RGB", "RGBa": "RGB", "La": "L"}
"""What is left of a PIL mode without its transparency."""
_MORE_THAN_8_BITS = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_UPRIGHT = ("XYXY", "XYWH", "CXCYWH")


class PolicyTransform(v2.Transform):
    """`policy` as a `torchvision.transforms.v2.Transform`, see `augrad.Policy.to_torchvision`.

    policy: the copy that it applies.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        if mixing := [op.name for op in self.policy.ops if op.kind == "mix"]:
            raise UserError(
                f"to_torchvision: expected operations on one image, got {', '.join(mixing)}, which takes another one "
                "of the batch; apply this policy to batches, in the training loop"
            )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """One draw for all that belongs to the sample."""
        return {"sample": self.policy.sample(1)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """`inpt`, an image, a video, masks, boxes or key points, as the draw changes it."""
        sample: PolicySample = params["sample"]
        match inpt:
            case Image.Image():
                return self._picture(inpt, sample)
            case tv_tensors.Mask():
                found = self._moved(inpt, sample, (inpt.shape[-2], inpt.shape[-1]), "masks")
            case tv_tensors.BoundingBoxes():
                found = self._boxes(inpt, sample)
            case tv_tensors.KeyPoints():
                found = self._moved(inpt, sample, inpt.canvas_size, "keypoints")
            case _:
                found = self._pixels(inpt.as_subclass(Tensor), sample)
        if not isinstance(inpt, tv_tensors.TVTensor):
            return found
        return tv_tensors.wrap(found, like=inpt)  # pyright: ignore[reportCallIssue]

    def _pixels(self, images: Tensor, sample: PolicySample, **targets: Tensor) -> Any:
        """images: [..., C, H, W], all by the same draw."""
        if images.dim() < 3:
            raise UserError(f"to_torchvision: expected images [..., C, H, W], got shape {tuple(images.shape)}")
        batch = images.flatten(0, -4) if images.dim() > 3 else images[None]
        given = checked_call(Augmented(batch, **targets), None, self.policy.ops, False, False)
        sample = sample.expand(len(batch)) if len(batch) != 1 else sample
        policy = self.policy
        found, _ = apply_draw(policy._application, given, sample, policy.fill, policy.interpolation, replayed=False)
        return found if targets else found.view(images.shape)

    def _picture(self, picture: Image.Image, sample: PolicySample) -> Image.Image:
        if picture.mode in _MORE_THAN_8_BITS:
            raise UserError(
                f"to_torchvision: expected a picture of 8 bits, got mode {picture.mode!r}; bring its values to 0..255 "
                "first, or give a tensor of floating point in [0, 1]"
            )
        if picture.mode in ("L", "RGB"):
            return _to_picture(self._pixels(_to_tensor(picture), sample)[None])
        if picture.mode in _ALPHA or "transparency" in picture.info:
            mode = _ALPHA.get(picture.mode, "RGB")
            with_alpha = picture.convert("LA" if mode == "L" else "RGBA")
            alpha = _to_tensor(with_alpha.getchannel("A"))
            found = self._pixels(_to_tensor(with_alpha.convert(mode)), sample, masks=alpha)
            result = _to_picture(found.images)
            result.putalpha(_to_picture(found.masks[None]))
            return result
        return self._picture(picture.convert("L" if picture.mode == "1" else "RGB"), sample)

    def _boxes(self, boxes: tv_tensors.BoundingBoxes, sample: PolicySample) -> Tensor:
        if boxes.format.name not in _UPRIGHT:
            raise UserError(
                f"to_torchvision: expected boxes as {', '.join(_UPRIGHT)}, got {boxes.format.name}; give the corners "
                "of turned boxes as key points"
            )
        convert = v2.functional.convert_bounding_box_format
        between = partial(convert, old_format=boxes.format, new_format=tv_tensors.BoundingBoxFormat.XYXY)
        back = partial(convert, old_format=tv_tensors.BoundingBoxFormat.XYXY, new_format=boxes.format)
        return back(self._moved(between(boxes.as_subclass(Tensor)), sample, boxes.canvas_size, "boxes"))

    def _moved(self, target: Tensor, sample: PolicySample, size: tuple[int, int], name: str) -> Tensor:
        plain = target.as_subclass(Tensor)
        image = torch.empty((), device=plain.device).expand(1, 1, *size)  # only its size counts
        rows = plain.reshape(1, -1, *plain.shape[-2:] if name == "masks" else plain.shape[-1:])
        given = Augmented(image, **{name: rows})
        check_targets(given, self.policy.ops)
        moved = move_targets(given, image, self.policy.ops, sample.to(plain.device))
        return getattr(moved, name).reshape(plain.shape)


def _to_tensor(picture: Image.Image) -> Tensor:
    pixels = np.array(picture)
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _to_picture(images: Tensor) -> Image.Image:
    pixels = images[0].numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
