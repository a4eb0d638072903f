"""Published data sets from files: small ones in the real formats, and the real Fashion-MNIST where it is installed."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from augrad import UserError
from augrad.data.published import load_published

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
TRAIN, TEST = 600, 120


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_fashion(folder: Path, compressed: bool) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "train-images-idx3-ubyte": pixels(TRAIN, 28, 28),
        "train-labels-idx1-ubyte": (np.arange(TRAIN) % 10).astype(np.uint8),
        "t10k-images-idx3-ubyte": pixels(TEST, 28, 28, seed=1),
        "t10k-labels-idx1-ubyte": (np.arange(TEST) % 10).astype(np.uint8),
    }
    for name, array in arrays.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return arrays


@pytest.mark.parametrize("place", ["", "raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("compressed", [True, False])
def test_fashion_mnist_from_its_files(tmp_path: Path, place: str, compressed: bool) -> None:
    arrays = write_fashion(tmp_path / place, compressed)
    splits = load_published("fashion_mnist", tmp_path, selection_size=50)
    assert splits.image_shape == (1, 28, 28)
    assert [len(s) for s in (splits.train, splits.validation, splits.selection, splits.test)] == [495, 55, 50, TEST]
    assert torch.equal(splits.test.images[:, 0], torch.from_numpy(arrays["t10k-images-idx3-ubyte"]))
    known = {image.tobytes(): label for image, label in zip(*list(arrays.values())[:2], strict=True)}
    for split in (splits.train, splits.validation, splits.selection):
        for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
            assert known.pop(image.tobytes()) == label  # each image once, with its own label
    assert not known


def test_a_reduced_subset_is_stratified_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    write_fashion(tmp_path, compressed=True)
    first, again, other = (
        load_published("fashion_mnist", tmp_path, 400, 0.5, selection_size=50, seed=seed) for seed in (0, 0, 1)
    )
    for split, per_class in ((first.train, 20), (first.validation, 20), (first.selection, 5)):
        assert torch.bincount(split.labels).tolist() == [per_class] * 10
    assert torch.equal(first.train.images, again.train.images)
    assert not torch.equal(first.train.images, other.train.images)
    assert first.sha256 == other.sha256
    assert len(first.test) == TEST


def test_the_real_fashion_mnist() -> None:
    if not DEBIAN.is_dir():
        pytest.skip("needs the Debian package dataset-fashion-mnist")
    splits = load_published("fashion_mnist", DEBIAN, reduced=4000, validation_fraction=0.5)
    assert [len(s) for s in (splits.train, splits.validation, splits.selection, splits.test)] == [
        2000, 2000, 1000, 10000,
    ]  # fmt: skip
    assert torch.bincount(splits.train.labels).tolist() == [200] * 10
    assert torch.bincount(splits.test.labels).tolist() == [1000] * 10
    # Trousers (1) are nearly all in two dark columns' width: their outer columns are black.
    trousers = splits.test.images[splits.test.labels == 1].float()
    assert trousers[..., :5].mean() < 0.1 * trousers.mean()


def write_cifar(folder: Path, fine: bool) -> None:
    """The pickles of the Python version, in miniature."""
    label = "fine_labels" if fine else "labels"
    classes = 100 if fine else 10
    base = folder / ("cifar-100-python" if fine else "cifar-10-batches-py")
    base.mkdir()
    parts = {"train": (TRAIN, 0)} if fine else {f"data_batch_{part}": (TRAIN // 5, part) for part in range(1, 6)}
    for name, (count, seed) in {**parts, ("test" if fine else "test_batch"): (TEST, 9)}.items():
        entry = {"data": pixels(count, 3072, seed=seed), label: [index % classes for index in range(count)]}
        (base / name).write_bytes(pickle.dumps(entry))
    names = {"fine_label_names" if fine else "label_names": [str(index) for index in range(classes)]}
    (base / ("meta" if fine else "batches.meta")).write_bytes(pickle.dumps(names))


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar(name: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, fine=classes == 100)
    with pytest.raises(UserError, match=r"^root: expected the files of .* as torchvision keeps them.* download"):
        load_published(name, tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    splits = load_published(name, tmp_path, 400, 0.5, selection_size=100)  # type: ignore[arg-type]
    assert splits.class_count == classes
    assert splits.image_shape == (3, 32, 32)
    assert [len(s) for s in (splits.train, splits.validation, splits.selection, splits.test)] == [200, 200, 100, TEST]
    assert torch.equal(splits.test.images, torch.from_numpy(pixels(TEST, 3, 32, 32, seed=9)))
    assert splits.test.labels.tolist() == [index % classes for index in range(TEST)]


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    for name, count, seed in (("train", TRAIN, 0), ("test", TEST, 1)):
        images = pixels(count, 3, 32, 32, seed=seed)
        labels = np.where(np.arange(count) % 10 == 0, 10, np.arange(count) % 10)[:, None]  # 10 stands for the digit 0
        savemat(tmp_path / f"{name}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels.astype(np.uint8)})
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)
    splits = load_published("svhn", tmp_path, 400, 0.5, selection_size=50)
    assert torch.equal(splits.test.images, torch.from_numpy(pixels(TEST, 3, 32, 32, seed=1)))
    assert splits.test.labels.tolist() == [index % 10 for index in range(TEST)]
    assert [len(splits.train), len(splits.validation)] == [200, 200]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reduced": 600}, "^reduced: expected 1 to 550"),
        ({"reduced": 0}, "^reduced: expected 1 to 550"),
        ({"validation_fraction": 1.0}, r"^validation_fraction: expected a number"),
        ({"selection_size": 5}, "selection"),
    ],
)
def test_sizes_that_do_not_fit(arguments: dict, words: str, tmp_path: Path) -> None:
    write_fashion(tmp_path, compressed=False)
    with pytest.raises(UserError, match=words):
        load_published("fashion_mnist", tmp_path, **{"selection_size": 50, **arguments})


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^root: expected train-images-idx3-ubyte or .* in /.*, found neither"):
        load_published("fashion_mnist", tmp_path)
    write_fashion(tmp_path, compressed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for content, words in (
        (whole[: len(whole) // 2], "readable idx file"),
        (gzip.compress(idx(pixels(TRAIN, 28, 28))[:-1]), "values for the sizes"),
        (gzip.compress(b"\x00\x00\x0d\x03" + bytes(12)), "unsigned bytes"),
        (gzip.compress(b""), "unsigned bytes"),
        (gzip.compress(b"\x00\x00\x08\xff" + bytes(4 * 255)), "in 4 dimensions at most, got 255"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=words):
            load_published("fashion_mnist", tmp_path, selection_size=50)


@pytest.mark.parametrize(
    ("train", "test", "words"), [((28, 28), (20, 20), "1 x 28 x 28 and 1 x 20 x 20"), ((4, 4), (4, 4), "8 pixels")]
)
def test_images_of_several_sizes_or_of_hardly_a_pixel(
    tmp_path: Path, train: tuple[int, int], test: tuple[int, int], words: str
) -> None:
    write_fashion(tmp_path, compressed=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels(TRAIN, *train)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(pixels(TEST, *test, seed=1)))
    with pytest.raises(UserError, match=words):
        load_published("fashion_mnist", tmp_path, selection_size=50)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("train-labels-idx1-ubyte", (np.arange(TRAIN - 1) % 10).astype(np.uint8)),
        ("train-labels-idx1-ubyte", (np.arange(TRAIN) % 11).astype(np.uint8)),
        ("train-images-idx3-ubyte", pixels(TRAIN, 28)),
        ("train-images-idx3-ubyte", pixels(0, 28, 28)),
    ],
)
def test_idx_files_that_do_not_belong_together(tmp_path: Path, name: str, array: np.ndarray) -> None:
    write_fashion(tmp_path, compressed=False)
    (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(UserError, match=r"expected images .* and labels .* from 0 to 9, got shapes .*; fetch"):
        load_published("fashion_mnist", tmp_path, selection_size=50)
