"""Estimators: each differentiates the expectation of a per-image scalar with respect to the policy.

An estimator is called with the scalar, the policy and a generator, and returns an `Estimate`; it never hears of two
levels. A new one is a file with one callable frozen dataclass, and one YAML file that names it.
"""
