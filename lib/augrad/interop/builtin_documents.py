"""The documents of the built-in policies. Their files, in `augrad/policy_file/builtin`, are written from these."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchvision.transforms import AutoAugmentPolicy, v2

from augrad.interop.genotype import document_of_genotype, published
from augrad.interop.losses import Loss
from augrad.interop.torchvision import document_of_transform
from augrad.ops.space import Candidate, Space, make_space, published_space
from augrad.ops.spec import Op
from augrad.policy_file.magnitude import Magnitude, Uniform, Value
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy


def builtin_documents() -> dict[str, PolicyDocument]:
    """The documents of all built-in policies, by name. `python -m augrad.interop NAME` prints the file of one.

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
        **_auto_augment(),
        **_published("dada", "Li et al. 2020, DADA: Differentiable Automatic Data Augmentation", _DADA),
        **_published("fast_autoaugment", "Lim et al. 2019, Fast AutoAugment", _FAST_AUTOAUGMENT),
    }


_DADA = {name: name for name in ("cifar10", "cifar100", "svhn", "imagenet")}
_FAST_AUTOAUGMENT = {
    "cifar10": "fa_reduced_cifar10",
    "svhn": "fa_reduced_svhn",
    "imagenet": "fa_resnet50_rimagenet",
}
_IMAGES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN", "imagenet": "ImageNet"}


def _auto_augment() -> dict[str, PolicyDocument]:
    """AutoAugment's three policies, as torchvision has them."""
    found = {}
    for policy in AutoAugmentPolicy:
        document, losses = document_of_transform(v2.AutoAugment(policy))
        found[f"autoaugment_{policy.value}"] = _told(
            document,
            f"torchvision.transforms.AutoAugment(AutoAugmentPolicy.{policy.name})",
            "Cubuk et al. 2019, AutoAugment: Learning Augmentation Strategies from Data",
            policy.value,
            losses,
        )
    return found


def _published(name: str, paper: str, lists: Mapping[str, str]) -> dict[str, PolicyDocument]:
    """The policies that came with a paper, as its own lists have them."""
    source, policies = published(name)
    found = {}
    for images, key in lists.items():
        document, losses = document_of_genotype(policies[key])
        found[f"{name}_{images}"] = _told(document, f"{source['source']}: {key}", paper, images, losses)
    return found


def _told(document: PolicyDocument, source: str, paper: str, images: str, losses: Sequence[Loss]) -> PolicyDocument:
    differences = sorted({loss.what for loss in losses})
    provenance = {"source": source, "paper": paper, "searched on": _IMAGES[images], "differences": differences}
    return document.model_copy(update={"provenance": provenance})


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
