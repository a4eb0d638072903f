"""augrad train: train a classifier with a policy."""

from contextlib import chdir
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from augrad.cli.arms import policy_arm
from augrad.cli.building import keys_added
from augrad.cli.configs import config_directory
from augrad.cli.entry import run_entry_point
from augrad.cli.judging import trained_on
from augrad.cli.limits import too_large_refused
from augrad.cli.outcome import Attempts
from augrad.cli.parts import (
    data_and_device,
    plain,
    recipe_of,
    save_model,
    say_data,
    standard_of,
    tracker_of,
)
from augrad.cli.quoting import shell_quoted
from augrad.cli.recipes import require_final_training, with_own_settings
from augrad.cli.run_directory import nothing_left_of_mistakes, output_directory, resumed_from
from augrad.cli.status import in_sweep, require_shown
from augrad.cli.train_run import MODEL, TrainRun
from augrad.cli.unread import require_read
from augrad.comparison.trainings import some_of, training_splits
from augrad.comparison.verdict import has_converged
from augrad.data.seeding import checked_seed
from augrad.data.summary import described
from augrad.errors import UserError
from augrad.learning.step import evaluate
from augrad.runs.directory import CHECKPOINT
from augrad.show.progress import SearchProgress
from augrad.terminal.console import say
from augrad.train import Recipe, Row, check_recipe, train_classifier


@hydra.main(version_base="1.3", config_path=config_directory(), config_name="train")
@nothing_left_of_mistakes
def _train(config: DictConfig) -> float:
    require_read(config)
    config = with_own_settings(config)
    directory = output_directory()
    with too_large_refused(config), chdir(resumed_from(config, directory)):
        return _train_in(config, directory)


def _train_in(config: DictConfig, directory: Path) -> float:
    """Train, write metrics.jsonl and model.pt; returns the validation error after the last epoch, for sweeps."""
    require_final_training(config)
    seed = checked_seed(config.seed)
    asked = [given for given in HydraConfig.get().overrides.task if given.startswith("policy=")]
    if asked and "_target_" in config.policy:  # a recipe brings one too: that is the search's
        raise UserError(f"policy: expected policy.file=FILE, a policy to train with, got {asked[-1]}")
    policy = policy_arm(config.policy.get("file"), config)(seed)
    model, optimizer, settings = recipe_of(config)
    standard = standard_of(config)
    with_validation, with_selection = trained_on(config)
    data, device = data_and_device(config)
    words, every = described(data), data
    data = training_splits(data, with_validation, with_selection)
    recipe = Recipe(data, model, optimizer, settings, standard)
    with keys_added():
        check_recipe(recipe)
    tracker, attempt, run = tracker_of(config), Attempts(), TrainRun(directory, config, recipe, policy, seed)
    with run.opened():
        say_data(every, {"train.batch_size": (settings.batch_size, len(data.train))})
        tracker.start(plain(config), directory)

        progress = SearchProgress(recipe.steps, run.first, title="train", disable=in_sweep())

        def report(row: Row) -> None:
            if not attempt.failed:  # the log has no gaps
                with attempt("the later rows of metrics.jsonl"):
                    run.log.append({**row, "data": words} if row["epoch"] == 1 else row)
            run.reported = int(row["step"] or 0)
            tracker.log(row, run.reported)
            progress.update(int(row["step"] or 0), float(row["train_loss"] or 0), float(row["val_loss"] or 0))

        with progress, run.stop:
            result = train_classifier(data, model, optimizer, policy, settings, seed, device, report, standard, run)
        with attempt("the classifier"):
            save_model(result.model, directory / MODEL)
        summary = {"test_accuracy": result.test_accuracy, "test_loss": result.test_loss}
        tracker.finish({}, None, summary)
    name = config.policy.get("file") or "no augmentation"
    say(
        f"test accuracy {result.test_accuracy:.4f}, loss {result.test_loss:.4f} after the last epoch; "
        f"policy: {name}; seed {seed}; results in {shell_quoted(str(directory))}"
    )
    validation = evaluate(result.model, data.validation)
    held_out = evaluate(result.model, data.selection) if with_validation else validation
    fitted = float(evaluate(result.model, some_of(data.train, seed)).loss)
    if not has_converged(fitted, float(held_out.loss), result.late):
        say(
            f"not converged: the loss on the training images as they are, {fitted:.3f}, is hardly below that on "
            f"{'held-out' if with_validation else 'validation'} images, {float(held_out.loss):.3f}, and the "
            "training was still learning; give it more steps (train.steps, train.epochs)"
        )
    require_shown(attempt.failed)
    return 1 - float(validation.accuracy)  # a sweep must not see the test split


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad train`."""
    return run_entry_point(_train, "augrad train", arguments, resumable=CHECKPOINT)
