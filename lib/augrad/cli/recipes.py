"""A recipe (`experiment=NAME`): beside another option of a group than its own, and the training after its search."""

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict, read_write

from augrad.checks import check_value
from augrad.errors import UserError

_GROUPS = ("model", "space", "policy", "objective", "estimator", "hypergradient")
"""Those whose options are exchanged as a whole. What a recipe does to its data is done to other data, too."""


def with_own_settings(config: DictConfig) -> DictConfig:
    """The configuration, in which a group with another option than the recipe's has nothing of the recipe.

    It is as it would be without the recipe: the option's own settings, and those of the line.
    """
    name, given = HydraConfig.get().job.config_name, list(HydraConfig.get().overrides.task)
    parsed = OverridesParser.create().parse_overrides(given)
    keys = {text: override.key_or_group for text, override in zip(given, parsed, strict=True)}
    groups = [group for group in _GROUPS if group in keys.values()]
    if not groups or HydraConfig.get().runtime.choices.get("experiment") is None:
        return config
    own = compose(name, [text for text in given if keys[text] not in groups and "." not in keys[text]], True)
    exchanged = [g for g in groups if own.hydra.runtime.choices.get(g) != HydraConfig.get().runtime.choices.get(g)]
    if not exchanged:
        return config
    theirs = [t for t in given if keys[t] != "experiment" and keys[t].partition(".")[0] in (keys[t], *exchanged)]
    without = compose(name, theirs)
    changed = config.copy()
    with read_write(changed), open_dict(changed):
        for group in exchanged:
            changed[group] = without[group]
    return changed


def require_final_training(config: DictConfig) -> None:
    """Raises UserError for a recipe of which no training after the search is known on these data."""
    if check_value(config.get("final_training", True), bool, "final_training"):
        return
    choices, loader = HydraConfig.get().runtime.choices, GlobalHydra.instance().config_loader()
    recipe, data = choices["experiment"], choices["data"]
    known = set(loader.get_group_options("experiment/train_on"))
    others = [option for option in loader.get_group_options("data") if f"{recipe}_{option}" in known]
    has = f"it has one on data={', '.join(others)}" if others else "it has none on any"
    raise UserError(
        f"experiment: {recipe} has no training after the search on data={data} ({has}); leave experiment={recipe} out "
        "for the default training, or give your own as train.epochs=..., train.optimizer.lr=... with "
        "final_training=true"
    )
