"""Where a run computes."""

import torch

from augrad.errors import UserError


def find_device(name: object) -> torch.device:
    """auto: a CUDA device if there is one, else the CPU; cpu; cuda or cuda:N. Raises UserError for a missing one."""
    if not isinstance(name, str):
        raise UserError(f"device: expected auto, cpu or cuda, got {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu or cuda, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device: {name} was asked for, but PyTorch finds no CUDA device here; use device=cpu or device=auto"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device: {name} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return device
