"""The former place of `augrad.policy.initial`: configurations of older runs name it."""

from augrad.policy.initial import initial_policy, pair_policy, random_policy, uniform_policy

__all__ = ["initial_policy", "pair_policy", "random_policy", "uniform_policy"]
