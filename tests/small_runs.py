"""Overrides that make a run take seconds."""

SMALL = [
    "search.steps=6",
    "search.batch_size=32",
    "search.validation_batch_size=32",
    "search.select_every=2",
    "search.checkpoint_every=3",
    "search.log_every=2",
    "search.warmup_steps=0",
    "model.width=16",
    "data.train_size=200",
    "data.validation_size=60",
    "data.selection_size=60",
    "train.epochs=1",
    "choose.seeds=1",
    "choose.processes=1",
]

COMPARED = ["compare.policies=[none,random]", "compare.processes=1"]
"""Of the comparison at the end of a search: two policies beside the learned one, in this process."""
