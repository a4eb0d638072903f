"""An operation as a user of kornia writes it."""

from typing import Any

from kornia.augmentation import IntensityAugmentationBase2D
from kornia.augmentation.random_generator import PlainUniformGenerator
from torch import Tensor


class Lighter(IntensityAugmentationBase2D):
    """Add `amount`."""

    def __init__(self, amount: tuple[float, float], p: float = 0.5) -> None:
        super().__init__(p=p)
        self._param_generator = PlainUniformGenerator((amount, "amount", None, None))

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        return input + params["amount"].to(input)[:, None, None, None]
