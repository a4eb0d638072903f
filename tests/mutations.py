"""Documents with something wrong: JSON values replaced, moved, repeated and left out, and text with damaged bytes.

Everything is made from a seed, so that the same number is always the same document.
"""

import json
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

DEEP = 100_000
_NUMBERS = (
    *("0", "1", "-1", "-0.0", "0.5", "2", "8", "0.1", "-0.1", "256", "180", "1e6", "-1e6", "1000001", "-1e7", "1e300"),
    *("1e-6", "1e-12", "1e-300", "1e-320", "5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "1e-99999"),
    *("0.9999999999999999", "0.999999999999", "1.0000000000000002", "1.0000001", "NaN", "Infinity", "-Infinity"),
    *("1e400", "-1e400", "9007199254740993", "18446744073709551616", "-9223372036854775809", "1" + "0" * 308),
    *("9" * 10_000, "-" + "9" * 10_000, "0." + "1" * 10_000, "1e" + "9" * 1000, "1" * 4301, "1" * 309 + ".5e-309"),
)
_STRINGS = (
    *(
        '""',
        '"0.5"',
        '"true"',
        '"null"',
        '" "',
        r'"\u0000"',
        r'"\ud800"',
        r'"\udfff\ud800"',
        r'"\ud83d\ude00"',
        r'"\n"',
    ),
    *('"rotate"', '"Rotate"', '"rotate "', r'"rot\u0430te"', '"identity"', '"posterize"', '"degree"', '"bits"'),
    *('"../../etc/passwd"', '"/dev/zero"', '"os.system"', '"posix.system"', '"this.s"', '"antigravity.geohash"'),
    *(r'"C:\\x"', '"file:///etc/passwd"', "\"__import__('os').system('true')\"", '"a.b"', '"a..b"', '".a"', '"a."'),
    *('"kornia.augmentation.RandomGaussianBlur"', '"open_ops.gamma"', '"import.os"', r'"\u202eevil\u001b[31m"'),
    *(
        f'"{"x" * 100_000}"',
        f'"{"a." * 1000}b"',
        '"' + r"\ud83d\ude00" * 200 + '"',
        '"' + "é" * 300 + '"',
        '"%s{0}{x}"',
    ),
    *('"augrad.policy"', '"bilinear"', '"finite_difference"', '"!!python/object/apply:os.system"', '"${oc.env:HOME}"'),
)
_COMPOUND = (
    *("[]", "{}", "[[]]", "[null]", "[{}]", "[1, 2]", '{"": 0}', '{"value": 1}', '{"a": NaN}', '{"a": 1, "a": 1}'),
    *("[" * 60 + "]" * 60, "[" * 64 + "]" * 64, '{"a":' * 62 + "1" + "}" * 62, "[" * DEEP + "]" * DEEP, "[" * DEEP),
    *('{"a":' * DEEP + "1" + "}" * DEEP, "[[0]," * DEEP, "[" + "0," * 9999 + "0]", "[" + "[]," * 9999 + "{}]"),
    *('{"low": 0, "high": 1}', '{"low": 1, "high": 0}', '{"low": -1e6, "high": 1e6}', '{"low": 5e-324, "high": 0}'),
    *('{"low": 0, "high": 1, "location": 0, "scale": 1}', '{"low": 0, "high": 1, "location": 0, "scale": 0}'),
    *('{"low": 0, "high": 1, "location": -1e6, "scale": 1e6}', '{"low": 0, "high": 1, "location": 1e300, "scale": -1}'),
    *('{"low": 1, "high": 0, "location": 1e6, "scale": 5e-324, "uniform": true}', '{"value": 1, "low": 0, "high": 1}'),
    *('{"op": "identity"}', '[{"op": "invert"}]', '{"_target_": "os.system"}', '{"py/object": "os.system"}'),
    "".join([f'{{"{chr(0x1F600) * 60}{depth}": ' for depth in range(50)]) + "NaN" + "}" * 50,
    "".join([f'{{"{"k" * 40}": [' for _ in range(25)]) + "1e999" + "]}" * 25,
)
VALUES = ("null", "true", "false", *_NUMBERS, *_STRINGS, *_COMPOUND)
"""As text, for not all of them are values that a JSON writer writes."""
KEYS = (
    *(
        '"op"',
        '"weight"',
        '"weigth"',
        '"magnitude"',
        '"uniform"',
        '"version"',
        '""',
        r'"op\u0000"',
        r'"\ud800"',
        '"Op"',
    ),
    *(r'"\uff4f\uff50"', r'"o\u0301p"', r'"op\u200b"', '"a.b"', '"__class__"', '"__proto__"', '"$ref"', '"1"', r'"\n"'),
    *(f'"{"k" * 100_000}"', '"' + "é" * 200 + '"', '"' + r"\ud83d\ude00" * 100 + '"', '"model_config"', '"self"'),
)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


class Draft:
    """A JSON value in which text that is no value stands in for some values and keys."""

    def __init__(self, value: Any) -> None:
        self.value = _copied(value)
        self._raw: list[str] = []

    def raw(self, text: str) -> str:
        """Where what comes back stands, `text` will be written."""
        self._raw.append(text)
        return f"@{len(self._raw) - 1}@"

    def text(self) -> str:
        written = json.dumps(self.value)
        # The last first: what was moved into a raw text's place is older.
        for index in reversed(range(len(self._raw))):
            written = written.replace(f'"@{index}@"', self._raw[index])
        return written


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place below `value`: the object or list, and the key or index in it."""
    found = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


def at_every_place(base: Any) -> Iterator[str]:
    """The base with each of `VALUES` in each of its places, long ones in every eighth, and each place left out."""
    for index in range(len(places(base))):
        for number, text in enumerate(VALUES):
            if len(text) > 1000 and (index + number) % 8:
                continue
            draft = Draft(base)
            where, key = places(draft.value)[index]
            where[key] = draft.raw(text)
            yield draft.text()
        draft = Draft(base)
        where, key = places(draft.value)[index]
        del where[key]
        yield draft.text()


def _a_place(draft: Draft, random: Random) -> tuple[Any, Any]:
    """Of any depth, each as likely: most places are deep."""
    at = draft.value
    while True:
        key = random.choice(list(at)) if isinstance(at, dict) else random.randrange(len(at))
        if not isinstance(at[key], dict | list) or not at[key] or random.random() < 0.2:
            return at, key
        at = at[key]


def _a_list(draft: Draft, random: Random) -> list[Any] | None:
    lists = [where[key] for where, key in places(draft.value) if isinstance(where[key], list) and where[key]]
    return random.choice(lists) if lists else None


def _replace(draft: Draft, random: Random) -> None:
    where, key = _a_place(draft, random)
    where[key] = draft.raw(random.choice(VALUES))


def _remove(draft: Draft, random: Random) -> None:
    where, key = _a_place(draft, random)
    del where[key]


def _add(draft: Draft, random: Random) -> None:
    """A key: a strange one, or one that is already there."""
    where, key = _a_place(draft, random)
    if isinstance(where, dict):
        name = json.dumps(key) if random.random() < 0.3 else random.choice(KEYS)
        where[draft.raw(name)] = random.choice([where[key], 1.0, draft.raw(random.choice(VALUES))])
    else:
        where.insert(key, draft.raw(random.choice(VALUES)))


def _rename(draft: Draft, random: Random) -> None:
    where, key = _a_place(draft, random)
    if isinstance(where, dict):
        where[draft.raw(random.choice(KEYS))] = where.pop(key)


def _copy_elsewhere(draft: Draft, random: Random) -> None:
    source, of = _a_place(draft, random)
    where, key = _a_place(draft, random)
    where[key] = _copied(source[of])


def _wrap(draft: Draft, random: Random) -> None:
    where, key = _a_place(draft, random)
    value = where[key]
    other = {str(index): item for index, item in enumerate(value)} if isinstance(value, list) else [value]
    where[key] = random.choice([[value], {"value": value}, other, draft.raw(json.dumps(json.dumps(value)))])


def _repeat(draft: Draft, random: Random) -> None:
    """Items of a list, weights and all: many sub-policies, stages or operations."""
    found = _a_list(draft, random)
    if found is None:
        return
    count = random.choice([1, 2, 3, 16, 17, 256, 257, 1000, 10_001])
    item = found[0]
    if count > 300:  # short ones only: thousands of whole sub-policies are thousands of the same
        item = random.choice([{}, [], 0, {"op": "identity"}, {"weight": 1e-4, "stages": [[{"op": "invert"}]]}])
    found[:] = [_copied(item) for _ in range(count)]
    if isinstance(item, dict) and "weight" in item and random.random() < 0.7:
        for one in found:
            one["weight"] = 1 / count


def _shorten(draft: Draft, random: Random) -> None:
    """Ragged: one stage or operation less, and often the weights made to fit."""
    found = _a_list(draft, random)
    if found is None:
        return
    del found[random.randrange(len(found)) :]
    _normalise(found)


def _normalise(items: list[Any]) -> None:
    weights = [item.get("weight") for item in items if isinstance(item, dict)]
    if weights and all(isinstance(weight, float) for weight in weights) and math.fsum(weights) > 0:
        for item in items:
            item["weight"] /= math.fsum(weights)


def _move_number(draft: Draft, random: Random) -> None:
    numbers = [(where, key) for where, key in places(draft.value) if type(where[key]) in (int, float)]
    if not numbers:
        return
    where, key = random.choice(numbers)
    number = float(where[key])
    where[key] = random.choice(
        [
            *(-number, number * 1e6, number / 1e6, number + 1e-6, number + 1e-12, number - 1e-12, 1 - number),
            *(math.nextafter(number, math.inf), math.nextafter(number, -math.inf), int(number), bool(number)),
            *(str(number), random.uniform(0, 1), random.uniform(-1e6, 1e6), 10 ** random.uniform(-320, 6)),
        ]
    )


def _swap_ends(draft: Draft, random: Random) -> None:
    found = [where[key] for where, key in places(draft.value) if isinstance(where[key], dict) and "high" in where[key]]
    if found:
        one = random.choice(found)
        one["low"], one["high"] = one["high"], one.get("low", 0)


def _scale_weights(draft: Draft, random: Random) -> None:
    found = _a_list(draft, random)
    factor = random.choice([0.0, 2.0, -1.0, 1e308, 1e-308, 1 + 1e-6, 1 + 2e-6, 1 - 9e-7])
    for item in found or []:
        if isinstance(item, dict) and isinstance(item.get("weight"), float):
            number = item["weight"] * factor
            item["weight"] = number if math.isfinite(number) else draft.raw("1e999")


def _shuffle_keys(draft: Draft, random: Random) -> None:
    where, _ = _a_place(draft, random)
    if isinstance(where, dict):
        items = list(where.items())
        random.shuffle(items)
        where.clear()
        where.update(items)


_CHANGES: tuple[Callable[[Draft, Random], None], ...] = (
    *(_replace, _replace, _remove, _add, _rename, _copy_elsewhere, _wrap, _repeat, _shorten),
    *(_move_number, _move_number, _move_number, _swap_ends, _scale_weights, _shuffle_keys),
)


def changed(base: Any, random: Random) -> str:
    """The base with one to four changes at random places."""
    draft = Draft(base)
    for _ in range(random.choice([1, 1, 2, 3, 4])):
        if isinstance(draft.value, dict) and draft.value:
            random.choice(_CHANGES)(draft, random)
    return draft.text()


_BYTES = (
    *(
        b"\x00",
        b"\xff",
        b"\xfe\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xae",
    ),
    *(
        b'"',
        b"\\",
        b"\\u",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"-",
        b"e",
        b".",
        b"//",
        b"/* */",
        b"#",
        b"'",
    ),
    *(b"\r\n", b"\x1b[2J", b"\xc2\xa0", b"NaN", b"1e999", b"true", b"{}", b"[" * DEEP, b'{"":' * DEEP, b"\n" * 10_000),
)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _flip(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]


def _insert(content: bytes, random: Random) -> bytes:
    at, drop = random.randrange(len(content) + 1), random.choice([0, 0, 1, 5])
    return content[:at] + random.choice([random.choice(_BYTES), random.randbytes(3)]) + content[at + drop :]


def _move_bytes(content: bytes, random: Random) -> bytes:
    start, stop = sorted(random.randrange(len(content) + 1) for _ in range(2))
    at = random.randrange(len(content) + 1)
    return content[:at] + content[start:stop] + content[at:]


def _encode_otherwise(content: bytes, random: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    encoding = random.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "utf-8-sig", "cp037"])
    return text.encode(encoding, "replace")


_AROUND = (
    *((b"\xef\xbb\xbf", b""), (b"\xef\xbb\xbf" * 2, b""), (b"", b"\x00"), (b"", b"{}"), (b"[", b"]"), (b"\x0c", b"")),
    *((b"\x1f\x8b\x08", b""), (b"PK\x03\x04", b""), (b" " * 100_000, b"\n" * 1000), (b")]}'\n", b"")),
)


def _around(content: bytes, random: Random) -> bytes:
    before, after = random.choice([*_AROUND, (b"", content)])
    return before + content + after


_DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_cut, _flip, _flip, _flip, _insert, _insert, _move_bytes, _encode_otherwise, _around),
)


def damaged(content: bytes, random: Random) -> bytes:
    """The text with one to three damages."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        content = random.choice(_DAMAGES)(content, random) if content else content
    return content
