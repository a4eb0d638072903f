"""Random numbers as a function of a seed: what an operation draws for an image follows from that image's own number.

A hash of (seed, position) instead of a generator with a state: every image has its own numbers, whatever else is in
the batch, on every device, and nobody's generator moves.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

_WORD = 0xFFFFFFFF
APART = (0x9E3779B9, 0x7F4A7C15)
"""Added to seeds and positions, because 0 is mixed to 0."""
FACTORS = (0x21F0AAAD, 0x735A2D97)
"""Those of C. Wellons's hash prospector; both are below 2^31, so that products fit in 63 bits."""


def _mixed(word: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """A bijection of 32-bit words (in int64) that spreads every bit over all: xor-shift and multiply, twice."""
    word = (word ^ (word >> 16)) * FACTORS[0] & _WORD
    word = (word ^ (word >> 15)) * FACTORS[1] & _WORD
    return word ^ (word >> 15)


def uniform_numbers(seed: Float[Tensor, " B"], count: int, start: int) -> Float[Tensor, "B count"]:
    """Numbers number `start` to `start + count` of the sequences that `seed`, in [0, 1), stands for.

    In [0, 1), multiples of 2^-24, float64.
    """
    key = _mixed((seed.to(torch.float64) * 2**24).to(torch.int64) + APART[0] & _WORD)[:, None]
    position = _mixed(torch.arange(start, start + count, device=seed.device) + APART[1] & _WORD)
    word = _mixed(_mixed(key ^ position) + key & _WORD)
    return (word >> 8).to(torch.float64) / 2**24


class Drawn(TorchFunctionMode):
    """While it is active, `torch.rand` and its relatives give numbers that follow from `seed` alone.

    Numbers for the whole batch, which have B in front, follow from each image's seed. All others (the order in which
    steps are taken, one choice for all images) are the same at every call: an image must not depend on its
    neighbours. Drawing functions that are not known here are left alone; whoever relies on this must see that the
    global generator did not move.
    """

    def __init__(self, seed: Float[Tensor, " B"]) -> None:
        super().__init__()
        self._seed = seed
        self._positions = {True: 0, False: 0}

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        match function:
            case torch.rand:
                return self._rand(_shape(args, kwargs), kwargs)
            case torch.randn:
                return self._randn(_shape(args, kwargs), kwargs)
            case torch.rand_like | torch.randn_like:
                like = args[0]
                draw = self._rand if function is torch.rand_like else self._randn
                return draw(tuple(like.shape), {"dtype": like.dtype, "device": like.device, **kwargs})
            case torch.randint:
                return self._randint(args, kwargs)
            case torch.randperm:
                order = self._uniform((args[0],)).argsort()
                return order.to(device=kwargs.get("device"), dtype=kwargs.get("dtype") or torch.int64)
            case torch.bernoulli:
                uniform = self._uniform(tuple(args[0].shape)).to(args[0].device)
                return (uniform < args[0]).to(args[0].dtype)
        return function(*args, **kwargs)

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        batch = len(self._seed)
        each = len(shape) > 0 and (shape[0] == batch or (len(shape) > 1 and shape[0] % batch == 0))  # [B * C, ...], too
        seed = self._seed if each else self._seed.new_zeros(1)
        count = math.prod(shape) // len(seed)
        start = self._positions[each]
        self._positions[each] += count
        return uniform_numbers(seed, count, start).reshape(shape)

    def _rand(self, shape: tuple[int, ...], options: Mapping[str, Any]) -> Tensor:
        return _as_asked(self._uniform(shape), options)

    def _randn(self, shape: tuple[int, ...], options: Mapping[str, Any]) -> Tensor:
        middle = self._uniform(shape) + 2.0**-25  # strictly between 0 and 1
        return _as_asked(math.sqrt(2.0) * torch.erfinv(2 * middle - 1), options)

    def _randint(self, args: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
        *ends, size = [*args, *([options["size"]] if "size" in options else [])]
        low, high = (0, ends[0]) if len(ends) == 1 else ends
        numbers = low + (self._uniform(tuple(size)) * (high - low)).floor()
        return numbers.to(device=options.get("device"), dtype=options.get("dtype") or torch.int64)


def _shape(args: Sequence[Any], options: Mapping[str, Any]) -> tuple[int, ...]:
    size = options["size"] if "size" in options else args[0] if len(args) == 1 else args
    return (size,) if isinstance(size, int) else tuple(size)


def _as_asked(numbers: Tensor, options: Mapping[str, Any]) -> Tensor:
    dtype = options.get("dtype") or torch.get_default_dtype()
    device = options.get("device")
    return numbers.to(dtype=dtype) if device is None else numbers.to(device=device, dtype=dtype)
