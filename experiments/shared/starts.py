"""Where the searches of some experiments begin, other than the default."""

FROM_WIDE = ("space=gray", "policy.stages=1", "policy.probability=0.75", "policy.level=0.5")
"""One of many operations on three images of four, of medium strength, in ranges as wide as they go."""
