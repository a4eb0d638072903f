"""From text to a document: decode, bring an older version up to date, validate."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError

from augrad.policy_file.decode import decode
from augrad.policy_file.model import FROM_FILE, VERSION, PolicyDocument
from augrad.policy_file.refusals import describe, first_refusal, refusal, suggestion

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: Mapping[int, Upgrade] = {}
"""For every older version n, what makes a document of version n + 1 of it (decoded, not yet validated)."""

_LISTED = "a list of sub-policies of [operation, probability, level] is read by augrad policy convert --from genotype"
_MOST_LOOKED_AT = 100
"""Keys among which a misspelt one is looked for: more are no policy document."""


def parse_policy(text: str | bytes) -> PolicyDocument:
    """The policy document that `text` (UTF-8 if bytes) holds, of this or any older version.

    Raises PolicyFileError for anything else; the message begins with the place of the first problem.
    """
    data = upgrade(decode(text))
    try:
        return PolicyDocument.model_validate(data, context=FROM_FILE)
    except ValidationError as error:
        raise first_refusal(error) from None


def upgrade(data: Any, upgrades: Mapping[int, Upgrade] = UPGRADES, newest: int = VERSION) -> dict[str, Any]:
    """The decoded document brought to version `newest`, step by step.

    Raises PolicyFileError for what is not a policy document or is newer.
    """
    if not isinstance(data, dict):
        raise refusal((), "a JSON object", describe(data), _LISTED if _is_listed(data) else "")
    if data.get("format") != "augrad.policy":
        got = describe(data["format"]) if "format" in data else "nothing"
        raise refusal(("format",), '"augrad.policy"', got, "" if "format" in data else _missing(data, "format"))
    if "version" not in data:
        raise refusal(("version",), f"{newest} or an older version's number", "nothing", _missing(data, "version"))
    version = data["version"]
    if type(version) is not int or version < 1:
        raise refusal(("version",), f"a whole number from 1 to {newest}", describe(version))
    if version > newest:
        raise refusal(
            ("version",),
            f"at most {newest}",
            describe(version),
            "the file was written by a newer augrad; upgrade augrad to read it",
        )
    for step in range(version, newest):
        data = {**upgrades[step](data), "version": step + 1}
    return data


def _is_listed(data: Any) -> bool:
    """Whether it could be a list of Fast AutoAugment or DADA."""
    return isinstance(data, list) and bool(data) and all(isinstance(sub, list) and sub for sub in data)


def _missing(data: dict[str, Any], key: str) -> str:
    """What to do about a missing key: a misspelt one may stand for it."""
    near = next((other for other in islice(data, _MOST_LOOKED_AT) if suggestion(other, (key,))), None)
    return "is this a policy file of augrad?" if near is None else f"is {describe(near)} a misspelling?"
