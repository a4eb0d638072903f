"""Image classifiers, differentiable forward and backward, and initial weights that depend on a seed alone."""
