"""What the policies of the golden files make of images: `python tests/golden_draws.py NAME...` records it.

For files that are new. A record that is there stays: files of every released version load for ever, and draw the same.
"""

import json
import math
import sys
from pathlib import Path

import torch

import augrad

GOLDEN = Path(__file__).parent / "policy_file" / "golden"
RECORDS = GOLDEN / "draws"
ALLOWED = ["open_ops", "kornia.augmentation"]


def fingerprints(name: str) -> list[list[float]]:
    """For each of 48 images, two weighted means of the pixels after the policy of that golden file, by the definitions
    of the operations in float64: numbers that hardly depend on the machine and tell images apart."""
    count, side = 48, 12
    at = torch.arange(count * 3 * side * side, dtype=torch.float64).reshape(count, 3, side, side)
    images = 0.5 + 0.4 * torch.sin(0.37 * at) * torch.cos(0.011 * at)
    policy = augrad.load_policy(GOLDEN / f"{name}.json", allow=ALLOWED)
    with augrad.engine("reference"):
        drawn = policy(images, generator=torch.Generator().manual_seed(1))
    row, column = torch.meshgrid(*[torch.linspace(-1, 1, side, dtype=torch.float64)] * 2, indexing="ij")
    channel = torch.tensor([1.0, math.sqrt(2), math.sqrt(3)], dtype=torch.float64)[:, None, None]
    weights = torch.stack([channel * (1 + row + 0.5 * column), channel * (row * column - column + row**2)])
    return torch.einsum("bchw,fchw->bf", drawn, weights / (3 * side * side)).tolist()


def main(names: list[str]) -> None:
    RECORDS.mkdir(exist_ok=True)
    for name in names:
        lines = ",\n".join(json.dumps([round(number, 9) for number in pair]) for pair in fingerprints(name))
        (RECORDS / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:])
