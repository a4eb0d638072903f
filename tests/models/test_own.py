"""Networks that a function of the user builds, and weights from a file."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from augrad.errors import AugradWarning, UserError
from augrad.models.libraries import torchvision_network
from augrad.models.own import own_network, with_weights

NET = """
import torch
from torch import nn

def build(in_channels, class_count, width=8):
    first, last = nn.Conv2d(in_channels, width, 3), nn.Linear(width, class_count)
    return nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)

def other(num_classes):
    return nn.Identity()

def nothing(in_channels, class_count):
    return None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def test_a_function_in_a_file_or_a_module_builds_the_network(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = own_network(1, 7, f"{file}:build", width=4)
    assert network(torch.rand(2, 1, 9, 9)).shape == (2, 7)
    assert network[0].out_channels == 4  # type: ignore[index]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_module_of_mine.py").write_text(NET)
    assert own_network(3, 2, "a_module_of_mine:build")(torch.rand(2, 3, 9, 9)).shape == (2, 2)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "{file}:other",
            r"called as other\(in_channels=1, class_count=7\), which it does not take .*write: def other\(",
        ),
        ("{file}:nothing", "expected .*nothing to return a torch.nn.Module, got NoneType"),
        ("{file}:biuld", r"has no function biuld; it has build, other, nothing"),
        ("{file}", "expected mypackage.net:build or net.py:build"),
        ("nowhere.py:build", "nowhere.py: no such file"),
        ("nowhere.net:build", r"cannot import nowhere.net \(No module named 'nowhere'\).*PYTHONPATH"),
    ],
)
def test_what_is_no_builder_is_told_in_a_sentence(file: Path, path: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^model.path: .*{words}"):
        own_network(1, 7, path.format(file=file))


def test_a_file_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    with pytest.raises(UserError, match=r"broken\.py: ModuleNotFoundError: No module named"):
        own_network(1, 7, f"{tmp_path}/broken.py:build")


def test_weights_of_a_file_are_taken_as_far_as_they_fit(file: Path, tmp_path: Path) -> None:
    before = own_network(1, 3, f"{file}:build")
    torch.save({"state_dict": before.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    same = own_network(1, 3, f"{file}:build", weights=tmp_path / "w.pt")
    assert all(map(torch.equal, same.parameters(), before.parameters()))
    with pytest.warns(AugradWarning, match=r"begins without 3\.weight, 3\.bias, which the file has not"):
        other = own_network(1, 10, f"{file}:build", weights=str(tmp_path / "w.pt"))
    assert torch.equal(other[0].weight, before[0].weight)  # type: ignore[index]
    assert other[3].weight.shape == (10, 8)  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:.*[Ss]parse")
def test_weights_that_fit_nothing_or_cannot_be_read_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"no tensor has the name .* the network, which has weight, bias; .* a$"):
        with_weights(nn.Linear(2, 2), tmp_path / "w.pt")
    (tmp_path / "x.pt").write_text("no")
    torch.save(nn.Linear(2, 2), tmp_path / "v.pt")
    whole = r"torch.save\(network.state_dict\(\), FILE\), got Python objects, a whole network perhaps"
    wrong = {"v.pt": whole, "x.pt": "expected the state dict of a network, .* got none, or a damaged one$",
             "y.pt": r"cannot be read \(No such file"}  # fmt: skip
    for name, words in wrong.items():
        with pytest.raises(UserError, match=words):
            with_weights(nn.Linear(2, 2), tmp_path / name)
    torch.save({"weight": torch.tensor([[1.0, float("nan")], [0.0, 0.0]])}, tmp_path / "u.pt")
    with pytest.raises(UserError, match="expected numbers, got NaN in weight"):
        with_weights(nn.Linear(2, 2), tmp_path / "u.pt")
    mask = {"weight": torch.tensor([[1.0, -math.inf], [0.0, 0.0]]), "other": torch.tensor(math.nan)}
    torch.save(mask, tmp_path / "t.pt")  # what is infinite may be meant, and what is not taken does no harm
    with pytest.warns(AugradWarning, match="begins without bias"):
        assert with_weights(nn.Linear(2, 2), tmp_path / "t.pt").weight[0, 1] == -math.inf
    for value, kind in (
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.eye(2, device="meta"), "without its numbers"),
        (torch.eye(2, dtype=torch.int8), "int8"),
        (torch.eye(2, dtype=torch.complex64), "complex64"),
    ):
        torch.save({"weight": value}, tmp_path / "kind.pt")
        with pytest.raises(UserError, match=f"expected weight as torch.float32.*{kind}"):
            with_weights(nn.Linear(2, 2), tmp_path / "kind.pt")
    torch.save([1, 2], tmp_path / "z.pt")
    with pytest.raises(UserError, match="expected a state dict, tensors by name, got list"):
        with_weights(nn.Linear(2, 2), tmp_path / "z.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_network_of_a_library_begins_with_them(tmp_path: Path) -> None:
    network = torchvision_network(3, 4, "resnet18")
    torch.save(network.state_dict(), tmp_path / "w.pt")
    again = torchvision_network(3, 4, "resnet18", weights=tmp_path / "w.pt")
    assert all(map(torch.equal, again.parameters(), network.parameters()))
