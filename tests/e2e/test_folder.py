"""A search, a training and a comparison on pictures in folders, through the real command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import augrad as library


def write_pictures(root: Path, sets: dict[str, int], classes: int = 3) -> None:
    """Noise around a colour of each class's own, of several sizes; PNG and JPEG."""
    generator = np.random.default_rng(0)
    for name, count in sets.items():
        for label in range(classes):
            folder = root / name / f"class {label}"
            folder.mkdir(parents=True)
            for index in range(count):
                size = tuple(generator.integers(16, 28, 2))
                colour = np.roll([200, 90, 40], label)
                pixels = (colour + generator.normal(0, 30, (*size, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.{('png', 'jpeg')[index % 2]}")


@pytest.mark.slow
def test_search_train_and_compare_on_a_folder(augrad, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", {"train": 20, "test": 4})
    data = ["data=folder", "data.root=pictures", "data.size=16", "model.width=16"]
    beside = ["standard={crop_padding: 2, flip: true, cutout: 4}"]
    search = ["search.steps=4", "search.batch_size=16", "search.select_every=2", "search.log_every=1", "compare=null"]
    done = augrad("search", *data, *beside, *search, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    policy = library.load_policy(tmp_path / "out" / "policy.json")
    assert policy.provenance["data"]["name"] == "pictures"
    assert len(policy.provenance["data"]["sha256"]) == 64
    assert policy.provenance["config"]["standard"]["cutout"] == 4
    done = augrad("train", *data, *beside, "policy.file=out/policy.json", "train.epochs=3", "hydra.run.dir=trained")
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    few = ["policies=[none]", "policy.file=out/policy.json", "seeds=1", "train.epochs=1"]
    done = augrad("compare", *data, *beside, *few, "hydra.run.dir=compared")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_dadas_recipe_on_a_small_imagenet(augrad, tmp_path: Path) -> None:
    """Its network, its operations, its classes drawn from those that there are; fewer and smaller images."""
    write_pictures(tmp_path / "imagenet", {"train": 24, "val": 2}, classes=4)
    less = ["data.size=32", "data.classes=3", "data.reduced=36", "data.selection_size=9"]
    steps = ["search.steps=2", "search.batch_size=8", "search.validation_batch_size=8", "search.select_every=2"]
    done = augrad(
        "search", "experiment=dada", "data=imagenet", "data.root=imagenet", *less, *steps, "hydra.run.dir=out"
    )
    assert done.returncode == 0, done.stderr
    assert len(library.load_policy(tmp_path / "out" / "policy.json").slots) == 25


def test_a_broken_picture_is_named(augrad, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", {"train": 4})
    (tmp_path / "pictures" / "train" / "class 1" / "0.png").write_text("no picture")
    done = augrad("search", "data=folder", "data.root=pictures", "hydra.run.dir=out")
    assert done.returncode == 2
    assert "train/class 1/0.png (no picture)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_images_in_a_file_make_no_difference(augrad, tmp_path: Path) -> None:
    """To a search, its choice and its comparison in processes, to a training, and where it goes on."""
    write_pictures(tmp_path / "pictures", {"train": 24, "test": 6})
    data = ["data=folder", "data.root=pictures", "data.size=16", "model.width=16"]
    search = ["search.steps=4", "search.batch_size=16", "search.select_every=2", "search.log_every=1"]
    judged = ["choose.seeds=1", "compare.policies=[none]", "compare.seeds=1", "compare.processes=2", "train.epochs=2"]
    for where, options in (("memory", []), ("store", ["data.store=kept"])):
        done = augrad("search", *data, *search, *judged, *options, f"hydra.run.dir={where}")
        assert done.returncode == 0, done.stderr
        done = augrad("train", *data, *options, "train.epochs=2", f"hydra.run.dir={where}_trained")
        assert done.returncode == 0, done.stderr
    done = augrad("search", "resume=store")
    assert done.returncode == 0, done.stderr
    few = ["policies=[none]", "policy.file=memory/policy.json", "seeds=1", "processes=1", "train.epochs=1"]
    for where, options in (("first", ["data.store=kept"]), ("again", ["reuse=[first]"])):
        done = augrad("compare", *data, *few, *options, f"hydra.run.dir={where}")
        assert done.returncode == 0, done.stderr
        assert "divided the same data otherwise" not in done.stderr
    assert done.stderr.count("(done before)") == 2  # a training with a store is the training without one

    def numbers(name: str) -> tuple[object, ...]:
        policy = json.loads((tmp_path / name / "policy.json").read_text())
        rows = [json.loads(line) for line in (tmp_path / f"{name}_trained" / "metrics.jsonl").read_text().splitlines()]
        found = json.loads((tmp_path / name / "comparison.json").read_text())["rows"]
        timed = ("seconds", "images_per_second")
        kept = [[{key: row[key] for key in row if key not in timed} for row in part] for part in (rows, found)]
        return policy["subpolicies"], policy["provenance"]["data"], *kept

    assert numbers("store") == numbers("memory")
