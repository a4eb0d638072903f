"""What operations and policies do to pictures, as pictures for a page."""

import io
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from augrad.data.pixels import to_float, to_uint8
from augrad.data.seeding import local_generator
from augrad.engines.choice import engine
from augrad.engines.contract import Settings, apply_op
from augrad.ops.spec import Op
from augrad.policy import Policy
from augrad.show.page import data_uri
from augrad.show.tracks import Levels
from augrad.show.words import describe_value, short_names
from augrad.types import PolicySample

SHARP_UP_TO = 48
"""Pixels of a side: small pictures lose nothing, larger ones become JPEG."""


@dataclass(frozen=True)
class Shown:
    """A picture on the page: what it is, in a few words, and the picture itself."""

    caption: str
    source: str


def examples_of_operation(
    op: Op, levels: Levels, images: UInt8[Tensor, "N C S S"], fill: float, interpolation: str, shown: int
) -> list[list[list[Shown]]]:
    """For each of the first `shown` images rows of pictures: the original and what the operation makes of it at the
    levels, and, where its sign is drawn, the same with the other sign: below, or behind a single one.

    Everything else that the operation draws is the same in all of them.
    """
    pictures = to_float(images)
    draw = torch.rand(len(images), max(op.draws, 1), generator=local_generator(0, "examples")).to(pictures)
    settings = Settings(fill, interpolation, pictures)

    def applied(magnitude: float) -> list[str]:
        magnitudes = pictures.new_full((len(pictures),), magnitude)
        with torch.no_grad():
            return sources_of(to_uint8(apply_op(op, pictures, magnitudes, draw, settings))[:shown])

    rows = [[(caption, applied(magnitude)) for caption, magnitude in row] for row in _magnitudes(op, levels)]
    return [
        [
            [
                *([Shown("original", original)] if place == 0 else []),
                *(Shown(words, made[image]) for words, made in row),
            ]
            for place, row in enumerate(rows)
        ]
        for image, original in enumerate(sources_of(images[:shown]))
    ]


def _magnitudes(op: Op, levels: Levels) -> list[list[tuple[str, float]]]:
    """Rows of captions and magnitudes, with their signs."""
    if op.unit is None:
        return [[("applied", 0.0)]]
    unit = op.unit
    words = {name: describe_value(op.name, unit, level) for name, level in levels.values.items()}
    if len(set(words.values())) == 1:  # so close to each other that there is nothing to tell apart
        middle = list(levels.values.values())[len(levels.values) // 2]
        signs = (1, -1) if levels.signed and middle else (1,)
        return [[(describe_value(op.name, unit, sign * middle), sign * middle) for sign in signs]]
    return [
        [
            (f"{name} {describe_value(op.name, unit, sign * level)}", sign * level)
            for name, level in levels.values.items()
        ]
        for sign in ((1, -1) if levels.signed else (1,))
    ]


def examples_of_policy(
    policy: Policy, images: UInt8[Tensor, "N C S S"], draws: int, seed: int = 0
) -> list[list[Shown]]:
    """For each image the original and that many draws of the whole policy, with what was drawn."""
    repeated = images.repeat_interleave(draws, 0)
    with torch.no_grad(), engine("reference"):  # nothing is compiled for a few pictures
        after, sample = policy(repeated, return_params=True, generator=local_generator(seed, "examples of a policy"))
    captions, sources, originals = _captions(policy, sample), sources_of(after), sources_of(images)
    return [
        [
            Shown("original", original),
            *(Shown(captions[place], sources[place]) for place in range(index * draws, (index + 1) * draws)),
        ]
        for index, original in enumerate(originals)
    ]


def _captions(policy: Policy, sample: PolicySample) -> list[str]:
    """Of each draw the operations that act, with their magnitudes."""
    names = short_names(op.name for op in policy.ops)
    signed = (sample.magnitude * sample.sign).tolist()
    captions = []
    for chosen, gates, magnitudes in zip(sample.op.tolist(), sample.gate.tolist(), signed, strict=True):
        acting = [
            f"{names[op.name]} {describe_value(op.name, op.unit, magnitude)}" if op.unit else names[op.name]
            for op, gate, magnitude in zip((policy.ops[index] for index in chosen), gates, magnitudes, strict=True)
            if gate and op.kind != "identity"
        ]
        captions.append(", ".join(acting) or "unchanged")
    return captions


def sources_of(images: UInt8[Tensor, "N C S S"]) -> list[str]:
    """Each image as a data URI: PNG if it is small, else JPEG."""
    sources = []
    for pixels in images.permute(0, 2, 3, 1).contiguous().numpy():
        stream = io.BytesIO()
        if len(pixels) <= SHARP_UP_TO:
            Image.fromarray(pixels).save(stream, "PNG")
            sources.append(data_uri(stream.getvalue(), "png"))
        else:
            Image.fromarray(pixels).save(stream, "JPEG", quality=85, subsampling=0)
            sources.append(data_uri(stream.getvalue(), "jpeg"))
    return sources
