"""Training a classifier with a policy, once or many times."""

from augrad.train.loop import Recipe, Row, TrainResult, check_recipe, train_classifier

__all__ = ["Recipe", "Row", "TrainResult", "check_recipe", "train_classifier"]
