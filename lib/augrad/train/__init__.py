"""Training a classifier with a policy, once or many times."""

from augrad.train.loop import Row, TrainResult, check_recipe, train_classifier

__all__ = ["Row", "TrainResult", "check_recipe", "train_classifier"]
