"""A policy in the workers of a data loader: on the batch that they have put together."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from augrad.errors import UserError
from augrad.policy.policy import Policy


class AugmentingCollate:
    """A `collate_fn` of a data loader; `augrad.Policy.to_collate_fn` makes it.

    Samples become a batch as `collate` says, and its images are augmented, each by its own draw, from PyTorch's global
    generator: workers differ, and `torch.manual_seed` repeats. The images are the batch itself where it is a tensor,
    the item at `key` of a tuple or list, or that under `key` of a mapping. Everything else stays as it is.
    policy: the copy that it applies; changes of the policy that it was made from do not reach it.
    A call raises UserError for a batch without such images, and as `Policy.forward` does.
    """

    def __init__(self, policy: Policy, collate: Callable[[Any], Any] = default_collate, key: int | str = 0) -> None:
        if not callable(collate):
            raise UserError(f"to_collate_fn: expected collate as a function of samples, got {collate!r:.100}")
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self.collate, self.key = collate, key

    def __call__(self, samples: Any) -> Any:
        batch = self.collate(samples)
        if isinstance(batch, Tensor):
            return self._augmented(batch)
        try:
            images = batch[self.key]
        except (LookupError, TypeError):
            raise UserError(
                f"to_collate_fn: expected images at {self.key!r} of the batch, got {type(batch).__name__}"
                f"{f' with {list(batch)}' if isinstance(batch, Mapping) else ''}; say where they are: key=..."
            ) from None
        if not isinstance(images, Tensor):
            raise UserError(
                f"to_collate_fn: expected images at {self.key!r} of the batch as one tensor [B, C, H, W], got "
                f"{type(images).__name__}; bring the pictures to tensors of one size first"
            )
        if isinstance(batch, Mapping):
            return {**batch, self.key: self._augmented(images)}
        items = [self._augmented(images) if item is images else item for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)

    def _augmented(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.policy(images)  # type: ignore[no-any-return]
