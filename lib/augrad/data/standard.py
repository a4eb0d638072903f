"""The augmentations that papers use beside a policy: random crop, horizontal flip, cutout of one square."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample

from augrad.checks import checked
from augrad.errors import UserError

_RATIO = 4 / 3  # of a resized crop's sides, at most
_DRAWN = ("box", "shift", "flip", "centre")


@dataclass(frozen=True)
class StandardDraw:
    """What was drawn for each image; as a function, images [B, C, H, W] -> images, in that order.

    box [B, 4]: top, left, height and width of a resized crop, as shares of the image's. shift [B, 2]: of a crop, down
    and right in pixels. flip [B]: whether the image is mirrored. centre [B, 2]: row and column of the cutout, whose
    side is `side` pixels. None: that part is not done. fill: the cutout's colour in [0, 1], [C] or, for each image,
    [B, C]; None: black.
    Nothing is drawn in the call: the same images give the same result, bit for bit, with gradients to the images.
    """

    box: Float[Tensor, "B 4"] | None = None
    shift: Int64[Tensor, "B 2"] | None = None
    flip: Bool[Tensor, " B"] | None = None
    centre: Int64[Tensor, "B 2"] | None = None
    side: int = 0
    fill: Float[Tensor, "*B C"] | None = None

    def __getitem__(self, chosen: slice | Tensor) -> "StandardDraw":
        """The draws of these images."""
        own = self._map(lambda drawn: drawn[chosen])
        return own if self.fill is None or self.fill.ndim == 1 else replace(own, fill=self.fill[chosen])

    def to(self, device: torch.device) -> "StandardDraw":
        """The same draws on `device`."""
        moved = self._map(lambda drawn: drawn.to(device, non_blocking=True))
        return moved if self.fill is None else replace(moved, fill=self.fill.to(device))

    @staticmethod
    def concatenate(draws: Sequence["StandardDraw"]) -> "StandardDraw":
        """Draws for several batches, one after another, of one augmentation but for its fill."""
        names = [name for name in _DRAWN if getattr(draws[0], name) is not None]
        joined = {name: torch.cat([getattr(one, name) for one in draws]) for name in names}
        if draws[0].centre is not None and draws[0].fill is not None:
            joined["fill"] = torch.cat([one.fill.expand(len(one.centre), -1) for one in draws])  # type: ignore[union-attr, arg-type]
        return replace(draws[0], **joined)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "StandardDraw":
        return replace(self, **{name: function(drawn) for name in _DRAWN if (drawn := getattr(self, name)) is not None})

    def __call__(self, images: Shaped[Tensor, "B C H W"]) -> Shaped[Tensor, "B C H W"]:
        """Float in [0, 1] or uint8; the type stays."""
        if self.box is not None:
            images = _resized(images, self.box)
        if self.shift is not None or self.flip is not None:
            images = _moved(images, self.shift, self.flip)
        if self.centre is not None:
            images = _cut(images, self.centre, self.side, self.fill)
        return images


@checked
@dataclass(frozen=True)
class StandardAugmentation:
    """Random crop, horizontal flip and cutout, for training images and after the policy; each image has its own draws.

    smallest_area: below 1, a part of the image that has between this share of its area and all of it, and sides whose
    ratio is that of the image's times 3/4 to 4/3, enlarged to the whole again (bilinear); a side that would be longer
    than the image's is as long (Szegedy et al. 2015; torchvision draws such a box anew). crop_padding: pixels of black
    around the image, of which a part as large as the image is cut (He et al. 2016). flip: mirror every second image.
    cutout: side of a square in pixels, around any pixel, clipped at the border (DeVries and Taylor 2017).
    fill [C]: the square's colour in [0, 1]; None: black. `augrad.learning.step.fitted` sets the training images' mean:
    the papers cut out after the standardisation, where the mean is zero.
    The order is that of AutoAugment's and Fast AutoAugment's code: policy, crop, flip, cutout.
    Without any of them nothing is drawn, and a draw returns the images that it is given.
    Raises UserError for values out of range.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    smallest_area: float | int = 1.0
    fill: Float[Tensor, " C"] | None = None

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            value = getattr(self, name)
            if value < 0:
                raise UserError(f"{name}: expected a whole number of pixels, 0 for none, got {value!r}")
        if not 0 < (area := self.smallest_area) <= 1:
            raise UserError(f"smallest_area: expected a share above 0, 1 for no such crop, got {area!r}")
        if self.fill is not None and not (isinstance(self.fill, Tensor) and self.fill.ndim == 1):
            raise UserError(
                f"fill: expected a tensor [C], a number for each channel, or None for black, got {self.fill!r}"
            )

    def draw(self, images: Shaped[Tensor, "B C H W"], generator: torch.Generator) -> StandardDraw:
        """A draw for each of the images, of which only number, size and device matter.

        generator: on the CPU, like all that a run draws from.
        """
        batch, channels, height, width = images.shape
        if self.fill is not None and len(self.fill) != channels:
            raise UserError(f"fill: expected {channels} numbers, one for each channel, got {len(self.fill)}")
        device = images.device
        box = shift = flip = centre = None
        if self.smallest_area < 1:
            uniform = torch.rand(batch, 4, generator=generator, device="cpu", dtype=torch.float64)
            box = _boxes(uniform, self.smallest_area).to(device, torch.float32, non_blocking=True)
        if self.crop_padding:
            reach = self.crop_padding
            shift = torch.randint(-reach, reach + 1, (batch, 2), generator=generator, device="cpu").to(
                device, non_blocking=True
            )
        if self.flip:
            flip = (torch.rand(batch, generator=generator, device="cpu") < 0.5).to(device, non_blocking=True)
        if self.cutout:
            along = [torch.randint(side, (batch,), generator=generator, device="cpu") for side in (height, width)]
            centre = torch.stack(along, 1).to(device, non_blocking=True)
        return StandardDraw(box, shift, flip, centre, self.cutout, self.fill)


NO_STANDARD = StandardAugmentation()
"""None of them."""


def _boxes(uniform: Float[Tensor, "B 4"], smallest_area: float) -> Float[Tensor, "B 4"]:
    """From uniform numbers for area, ratio, top and left to boxes; everything in shares of the image."""
    area = smallest_area + (1 - smallest_area) * uniform[:, 0]
    ratio = torch.exp(math.log(_RATIO) * (2 * uniform[:, 1] - 1))
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], 1).clamp(max=1)
    return torch.cat([uniform[:, 2:] * (1 - sides), sides], 1)


def _resized(images: Shaped[Tensor, "B C H W"], box: Float[Tensor, "B 4"]) -> Shaped[Tensor, "B C H W"]:
    """Each image's box, enlarged to the whole; beyond the middle of an outermost pixel its colour goes on."""
    if not images.is_floating_point():
        return (_resized(images / 255, box) * 255).round().to(images.dtype)
    height, width = images.shape[2:]
    box = box.to(images.dtype)

    def places(start: Tensor, side: Tensor, count: int) -> Tensor:
        middles = (torch.arange(count, device=images.device, dtype=images.dtype) + 0.5) / count
        return 2 * (start[:, None] + side[:, None] * middles) - 1  # [B, count], from -1 to 1 across the image

    down, right = places(box[:, 0], box[:, 2], height), places(box[:, 1], box[:, 3], width)
    grid = torch.stack(torch.broadcast_tensors(right[:, None, :], down[:, :, None]), -1)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _moved(
    images: Shaped[Tensor, "B C H W"], shift: Int64[Tensor, "B 2"] | None, flip: Bool[Tensor, " B"] | None
) -> Shaped[Tensor, "B C H W"]:
    """The part `shift` pixels down and right of the image, black beyond it, then mirrored where `flip` says so."""
    batch, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device).expand(batch, height)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if flip is not None:
        columns = torch.where(flip[:, None], width - 1 - columns, columns)
    if shift is not None:
        rows, columns = rows + shift[:, :1], columns + shift[:, 1:]
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    found = images.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, channels, -1)).view(images.shape)
    if shift is None:
        return found
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return torch.where(inside[:, None], found, torch.zeros((), dtype=images.dtype, device=images.device))


def _cut(
    images: Shaped[Tensor, "B C H W"], centre: Int64[Tensor, "B 2"], side: int, fill: Float[Tensor, "*B C"] | None
) -> Shaped[Tensor, "B C H W"]:
    """`side` rows and columns filled, from side // 2 before the centre on."""
    height, width = images.shape[2:]
    start = centre - side // 2

    def within(first: Tensor, count: int) -> Tensor:
        offset = torch.arange(count, device=images.device) - first[:, None]
        return (offset >= 0) & (offset < side)

    square = within(start[:, 0], height)[:, None, :, None] & within(start[:, 1], width)[:, None, None, :]
    colour = torch.zeros(images.shape[1], device=images.device) if fill is None else fill
    colour = colour if images.is_floating_point() else (colour * 255).round()
    return torch.where(square, colour.to(images.dtype)[..., None, None], images)
