"""Policy documents with everything that a file may fix: each is one that `load_policy` takes."""

import json
from typing import Any

from augrad import Policy
from augrad.policy_file import parse_policy
from augrad.policy_file.convert import policy_from_document

DRAWN = {"low": 0, "high": 30, "location": 0, "scale": 1.0}


def rotate(**keys: Any) -> dict[str, Any]:
    return {"op": "rotate", "unit": "degree", "magnitude": DRAWN, "signed": True, "probability": 0.5, **keys}


def brightness(**keys: Any) -> dict[str, Any]:
    drawn = {"low": 0, "high": 0.9, "location": 0, "scale": 1.0}
    return {"op": "brightness", "unit": "strength", "magnitude": drawn, "signed": True, "probability": 0.5, **keys}


def invert(**keys: Any) -> dict[str, Any]:
    return {"op": "invert", "probability": 0.5, **keys}


def document(subpolicies: list[Any], **top: Any) -> dict[str, Any]:
    first = {"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0}
    return {**first, "subpolicies": subpolicies, **top}


def one(*stages: list[Any]) -> dict[str, Any]:
    return document([{"weight": 1.0, "stages": list(stages)}])


def two(weights: tuple[float, float], first: list[Any], second: list[Any]) -> dict[str, Any]:
    return document([{"weight": w, "stages": stages} for w, stages in zip(weights, (first, second), strict=True)])


def beside(magnitude: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Rotation with that magnitude, and an operation to choose instead."""
    return one([rotate(magnitude=magnitude, weight=0.5, **keys), invert(weight=0.5)])


ODD = {
    "probability 1": one([rotate(probability=1.0, weight=0.5), invert(weight=0.5)]),
    "probability 0": one([rotate(probability=0.0, weight=0.5), invert(weight=0.5)]),
    "weight 0": one([rotate(weight=0.0), invert(weight=0.5), brightness(weight=0.5)], [invert(weight=0.0), rotate()]),
    "weight 0 of a sub-policy": document(
        [
            {"weight": 0.0, "stages": [[rotate()]]},
            {"weight": 0.6, "stages": [[brightness()]]},
            {"weight": 0.4, "stages": [[invert()]]},
        ]
    ),
    "value": beside({"value": 15}),
    "uniform": beside({"low": 0, "high": 30}),
    "up to a drawn end": beside({**DRAWN, "uniform": True}),
    "up to a fixed end": beside({**DRAWN, "scale": 0, "uniform": True}),
    "no scale": beside({**DRAWN, "scale": 0}),
    "no range": beside({**DRAWN, "low": 7, "high": 7}),
    "ragged": two(
        (0.5, 0.5),
        [[rotate(weight=0.5), invert(weight=0.5)]],
        [[brightness()], [invert(weight=0.2), rotate(weight=0.3), {"op": "identity", "weight": 0.5}], [invert()]],
    ),
    "nothing but the identity": one([{"op": "identity"}]),
    "all fixed": one([rotate(probability=1.0, magnitude={"value": 5})], [invert(probability=0.0)]),
    "far out": one(
        [
            rotate(weight=0.5, magnitude={**DRAWN, "location": 1e6, "scale": 1e6}),
            brightness(
                weight=0.5, probability=1e-300, magnitude={"low": 0, "high": 1, "location": -1e6, "scale": 1e-300}
            ),
        ]
    ),
    "far out, uniform": one(
        [
            rotate(weight=0.5, magnitude={**DRAWN, "location": 1e6, "scale": 1e6, "uniform": True}),
            brightness(
                weight=0.5,
                magnitude={"low": 0, "high": 1, "location": -1e6, "scale": 1e-300, "uniform": True},
            ),
        ]
    ),
    "hardly a scale": beside({**DRAWN, "scale": 1e-200}),
    "nearly fixed": one([rotate(weight=1e-9, probability=1 - 1e-16), invert(weight=1 - 1e-9, probability=5e-324)]),
}
"""By what is odd about them."""


def policy_of(content: dict[str, Any]) -> Policy:
    return policy_from_document(parse_policy(json.dumps(content)))
