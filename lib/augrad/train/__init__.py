"""Training a classifier with a policy, and comparing policies by such trainings."""

from augrad.train.comparison import Arm, always, compare_policies
from augrad.train.loop import Row, TrainResult, check_recipe, train_classifier

__all__ = ["Arm", "Row", "TrainResult", "always", "check_recipe", "compare_policies", "train_classifier"]
