"""The documents of the built-in policies. Their files, in the folder `builtin`, are written from these."""

from collections.abc import Callable, Mapping
from typing import Any

from augrad.ops.space import Candidate, Space, make_space, published_space
from augrad.ops.spec import Op
from augrad.policy_file.magnitude import Magnitude, Uniform, Value
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy


def builtin_documents() -> dict[str, PolicyDocument]:
    """The documents of all built-in policies, by name. `python -m augrad.policy_file NAME` prints the file of one.

    randaugment and trivialaugment_wide are torchvision's transforms of these names with their default arguments, over
    the published spaces of these names. What differs is in their provenance.
    """
    return {
        "identity": _even(
            make_space({"identity": None}, "bilinear"),
            1,
            _whole_range,
            {"source": "augrad: leaves every image as it is"},
        ),
        "randaugment": _even(
            published_space("randaugment"),
            2,
            _magnitude_9_of_31,
            {
                "source": "torchvision.transforms.RandAugment(num_ops=2, magnitude=9, num_magnitude_bins=31)",
                "paper": "Cubuk et al. 2020, RandAugment: Practical automated data augmentation with a reduced search "
                "space",
                "differences": [
                    "Translations go to the nearest whole pixel; torchvision cuts off what is beyond a whole pixel."
                ],
            },
        ),
        "trivialaugment_wide": _even(
            published_space("trivialaugment_wide"),
            1,
            _whole_range,
            {
                "source": "torchvision.transforms.TrivialAugmentWide(num_magnitude_bins=31)",
                "paper": "Müller and Hutter 2021, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation",
                "differences": [
                    "Magnitudes are uniform over the range; torchvision draws one of 31 evenly spaced values of it.",
                    "Translations go up to the whole side; that is torchvision's 32 pixels for images of 32 x 32 only.",
                    "Translations go to the nearest whole pixel; torchvision cuts off what is beyond a whole pixel.",
                ],
            },
        ),
    }


def _even(
    space: Space, stages: int, magnitude_of: Callable[[Op, float, float], Magnitude], provenance: Mapping[str, Any]
) -> PolicyDocument:
    """In each of the stages one operation of `space` is applied, all equally likely.

    magnitude_of: how the magnitude of an operation is drawn, from the operation and its range in the space.
    """

    def entry(candidate: Candidate) -> Entry:
        op, low, high, weight = candidate.op, candidate.low, candidate.high, 1 / len(space.candidates)
        if low is None or high is None:
            return Entry(op=op.name, weight=weight)
        magnitude = magnitude_of(op, low, high)
        return Entry(op=op.name, unit=op.unit, magnitude=magnitude, signed=candidate.signed, weight=weight)

    stage = tuple(map(entry, space.candidates))
    return PolicyDocument(
        interpolation=space.interpolation,
        fill=space.fill,
        subpolicies=(SubPolicy(weight=1.0, stages=(stage,) * stages),),
        provenance=dict(provenance),
    )


def _whole_range(op: Op, low: float, high: float) -> Uniform:
    return Uniform(low=low, high=high)


def _magnitude_9_of_31(op: Op, low: float, high: float) -> Value:
    """The tenth of 31 evenly spaced values of the range, where the first is magnitude 0; of bits the nearest whole."""
    value = low + 9 / 30 * (high - low)
    return Value(value=float(round(value)) if op.unit == "bits" else value)
