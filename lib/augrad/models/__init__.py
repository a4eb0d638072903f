"""Image classifiers that forward-mode differentiation passes through, and initial weights that depend on a seed alone."""
