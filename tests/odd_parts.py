"""A part of somebody else's, named by a configuration."""

import torch


class Switched(torch.nn.Module):
    """A network with annotations for some of its arguments, and defaults for all; one contradicts its annotation."""

    def __init__(self, in_channels, class_count, bias=False, depth: int = 3, rate: float = 0.1, name: str = None):  # noqa: RUF013
        super().__init__()
