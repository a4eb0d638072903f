"""The policy: the module that has the parameters. It draws, applies its draws, and gives their log-probabilities."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.utils.data
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import default_collate

from augrad.checks import require_count, require_flag, require_number
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.ops.space import Interpolation, Space, checked_resampling
from augrad.ops.spec import Op
from augrad.ops.targets import Augmented
from augrad.policy.application import application_of, apply_draw, checked_call, warn_in_evaluation
from augrad.policy.distributions import (
    HardNoise,
    RelaxedNoise,
    draw_hard_noise,
    draw_relaxed_noise,
    entropy,
    require_generator,
)
from augrad.policy.draws import (
    ScoreTerms,
    hard_draw,
    hard_draw_with,
    hardened,
    masked_op_logits,
    relaxed_draw,
    score_terms,
)
from augrad.policy.module import PolicyModule
from augrad.policy.parameters import (
    kept_parameters,
    largest_entropy,
)
from augrad.policy.replay import require_replayable
from augrad.policy.slots import Learnable, Magnitude, Slots, checked_slots, grid_of, slots_layout
from augrad.policy.tables import tables_of
from augrad.types import Drawn, PolicyParams, PolicySample, RelaxedSample

if TYPE_CHECKING:
    from augrad.policy.collate import AugmentingCollate
    from augrad.policy.graphed import GraphedPolicy
    from augrad.policy.transform import PolicyTransform


class Policy(PolicyModule):
    """A distribution over augmentations: S sub-policies of L stages, each stage one of K candidates.

    `policy(images)` draws for every image on its own and applies the draw: images [B, C, H, W], float in [0, 1] or
    uint8, any device. Parameters are unbounded, see `PolicyParams`, and float64 for good (a few hundred numbers, so
    that draws do not depend on the images' type and files round-trip exactly): `to(dtype)`, `half` and their like,
    called here or on a model around the policy, move it and leave its types alone. `provenance` travels with the policy
    into its file.

    It augments in evaluation mode, too, as the transforms of torchvision and Kornia do, and says so once: `eval()` of a
    model around it changes nothing. Call it in the training loop or the data loader, or where `self.training` is true,
    and not as a layer of the network that is tested.

    Randomness is as in the rest of PyTorch. With `generator=` everything comes from it, and nothing else is touched.
    Without, each call takes one number from the global generator of the CPU, and draws from a stream that begins there:
    `torch.manual_seed` starts the same augmentations again, the saved state of that generator (`get_rng_state`,
    `fork_rng`, `torch.utils.checkpoint`) brings them back, and two policies or two calls are independent. Each process
    has a global generator of its own: the workers of a data loader are seeded apart, ranks of a distributed run draw
    alike only if they are seeded alike.
    """

    subpolicy_logits: nn.Parameter
    op_logits: nn.Parameter
    gate_logits: nn.Parameter
    magnitude_locations: nn.Parameter
    magnitude_log_scales: nn.Parameter

    @made_on_cpu
    def __init__(
        self,
        ops: Sequence[Op],
        slots: Slots,
        params: PolicyParams,
        interpolation: Interpolation = "bilinear",
        fill: float = 0.0,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """ops: the different operations. slots: [S][L][K] candidates. params: initial values, shape [S] and [S, L, K]
        with L and K the largest numbers of stages and candidates (what is missing is padded with zeros).

        It is made on the CPU, whatever the default device. An infinite value says what is certain, and is kept as
        `augrad.policy.distributions.CERTAIN`. Raises UserError for operations, slots and parameters that do not fit
        each other, and for parameters that are NaN.
        """
        super().__init__()
        interpolation, fill = checked_resampling(interpolation, fill)
        slots = checked_slots(ops, slots)
        grid = grid_of(slots)
        self.ops, self.slots = tuple(ops), slots
        self.interpolation: Interpolation = interpolation
        self.fill = fill
        if not isinstance(provenance, Mapping | None):
            raise UserError(f"policy: expected provenance as a dictionary, got {type(provenance).__name__}")
        self.provenance: dict[str, Any] = dict(provenance or {})
        self._application = application_of(self.ops, slots)
        self.layout = slots_layout(self.ops, slots)
        """Which operation is where: what a draw that is replayed must agree with."""
        self.tables = tables_of(self.ops, grid)
        for name, tensor in kept_parameters(params, grid).items():
            self.register_parameter(name, nn.Parameter(tensor))
        self.max_selection_entropy = largest_entropy(grid, self.op_logits.detach(), self.subpolicy_logits.detach())
        """The largest value of `selection_entropy`, with weights that are not fixed at 0."""

    @staticmethod
    def over(
        space: Space | Mapping[Any, Any] | Sequence[Any],
        *,
        subpolicies: int = 1,
        stages: int = 1,
        probability: float = 0.75,
        magnitude: Magnitude = "logit_normal",
        level: float = 0.5,
        scale: float = 1.0,
        learn: Sequence[Learnable] = ("subpolicies", "ops", "gates", "magnitudes"),
        jitter: float = 0.1,
        seed: int = 0,
        interpolation: Interpolation | None = None,
        fill: float | None = None,
    ) -> "Policy":
        """A policy that chooses evenly among the operations of a space: an augmentation as it is, or a search's start.

        space: an `augrad.Space`; the names of operations; or a mapping of names to what is changed of an operation's
        range, as in `{"rotate": {"high": 20.0}, "color": None}`; a function of one's own is its name (see
        `augrad.ops.space.make_space`).
        subpolicies: how many there are, of which one is drawn for each image. stages: how many operations an image
        undergoes, one after another. probability: that a chosen operation is applied, from 0 to 1.
        magnitude: "logit_normal", the magnitude is low + (high - low) * sigmoid(n), n normal with standard deviation
        `scale` around the point where that is `level` of the range; "uniform", it is uniform from low up to such a
        point; "point", it is always the point at `level`. level: in (0, 1). scale: above 0.
        learn: which groups of parameters a search changes. jitter: standard deviation of the operations' first logits
        in each sub-policy, without which all sub-policies would stay alike; unused with one. seed: of the jitter.
        interpolation ("bilinear" or "nearest"), fill (in [0, 1]): how resampling interpolates, and the value of pixels
        from outside the image; None: as the space says, which is bilinear and 0 unless it says otherwise.
        Raises UserError for unknown operations and for values out of range.
        """
        from augrad.policy.initial import initial_policy, space_of

        found = space_of(space, interpolation, fill)
        return initial_policy(found, subpolicies, stages, probability, magnitude, level, scale, learn, jitter, seed)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, L, K): sub-policies, stages, candidates of a stage."""
        subpolicies, stages, width = self.tables.present.shape
        return subpolicies, stages, width

    @property
    def device(self) -> torch.device:
        """Where the parameters are, and draws are made."""
        return self.subpolicy_logits.device

    @property
    def extra_draws(self) -> int:
        """D: how many extra uniform numbers the operations may need."""
        return max([0, *(op.draws for op in self.ops)])

    @property
    def params(self) -> PolicyParams:
        """The parameters as one value (the live tensors, not copies)."""
        return PolicyParams(
            self.subpolicy_logits,
            self.op_logits,
            self.gate_logits,
            self.magnitude_locations,
            self.magnitude_log_scales,
        )

    def extra_repr(self) -> str:
        subpolicies, stages, width = self.shape
        names = ", ".join(op.name for op in self.ops)
        return f"{subpolicies} sub-policies x {stages} stages x {width} candidates of ({names})"

    # --- distributions -----------------------------------------------------------------------------------------------

    def masked_op_logits(self) -> Float[Tensor, "S L K"]:
        """The op logits, with -1e30 where there is no candidate."""
        return masked_op_logits(self.params, self.tables)

    def subpolicy_probabilities(self) -> Float[Tensor, " S"]:
        """Weight of each sub-policy."""
        return torch.softmax(self.subpolicy_logits, 0)

    def op_probabilities(self) -> Float[Tensor, "S L K"]:
        """Weight of each candidate within its stage (zero where there is none)."""
        return torch.softmax(self.masked_op_logits(), -1) * self.tables.present

    def gate_probabilities(self) -> Float[Tensor, "S L K"]:
        """Probability that a chosen candidate is applied."""
        return torch.sigmoid(self.gate_logits)

    # --- draws -------------------------------------------------------------------------------------------------------

    def draw_noise(self, batch_size: int, generator: torch.Generator | None = None) -> HardNoise:
        """Base draws for `sample_from`."""
        require_count(batch_size, "a batch size")
        return draw_hard_noise(batch_size, self.shape[1], self.extra_draws, generator, self.device)

    def draw_relaxed_noise(self, batch_size: int, generator: torch.Generator | None = None) -> RelaxedNoise:
        """Base draws for `rsample_from`."""
        require_count(batch_size, "a batch size")
        return draw_relaxed_noise(batch_size, self.shape, self.extra_draws, generator, self.device)

    def sample(
        self, batch_size: int, generator: torch.Generator | None = None, same_on_batch: bool = False
    ) -> PolicySample:
        """A hard draw for each of `batch_size` images (one draw for all with `same_on_batch`).

        Magnitudes carry gradients to locations and scales; everything else is discrete.
        """
        require_count(batch_size, "a batch size")
        require_flag(same_on_batch, "same_on_batch")
        noise = self.draw_noise(1 if same_on_batch else batch_size, generator)
        sample = self.sample_from(noise)
        return sample.expand(batch_size) if same_on_batch else sample

    def sample_from(self, noise: HardNoise) -> PolicySample:
        """The hard draw that `noise` determines."""
        return hard_draw(self.params, self.tables, noise, self.layout)

    def sample_with(self, subpolicy: Tensor, slot: Tensor, gate: Tensor, noise: HardNoise) -> PolicySample:
        """The hard draw with these choices [B], [B, L], [B, L], and magnitudes, signs and extra numbers by `noise`."""
        return hard_draw_with(self.params, self.tables, subpolicy, slot, gate, noise, self.layout)

    def rsample(
        self, batch_size: int, temperature: float = 0.5, hard: bool = False, generator: torch.Generator | None = None
    ) -> RelaxedSample:
        """A relaxed (Gumbel-softmax) draw for each image, with gradients to every parameter.

        temperature > 0: towards 0 draws become one-hot and gradients wild. hard: straight-through, one-hot in the
        forward pass.
        """
        require_number(temperature, "a temperature", above=0.0)
        require_flag(hard, "hard")
        require_count(batch_size, "a batch size")
        return self.rsample_from(self.draw_relaxed_noise(batch_size, generator), float(temperature), hard)

    def rsample_from(self, noise: RelaxedNoise, temperature: float, hard: bool = False) -> RelaxedSample:
        """The relaxed draw that `noise` determines."""
        return relaxed_draw(self.params, self.tables, noise, temperature, hard, self.layout)

    def harden(self, relaxed: RelaxedSample) -> PolicySample:
        """The hard draw of the same noise: the largest weights, and the gates above one half."""
        self.require_own(relaxed, (RelaxedSample,))
        return hardened(self.tables, relaxed, self.layout)

    def score_terms(self, sample: PolicySample) -> ScoreTerms:
        """log p of a hard draw by what was drawn, as a function of the parameters (the draw itself held fixed).

        Only what acted is scored: the gate of the chosen candidate unless it is the identity, its magnitude if the
        gate is open. Of a magnitude that is uniform up to a drawn range, the magnitude and not the range.
        Raises UserError for a draw of a policy with other operations in its places.
        """
        self.require_own(sample, (PolicySample,), by_place=True)
        return score_terms(self.params, self.tables, sample)

    def require_own(
        self, draw: Drawn, kinds: tuple[type[Drawn], ...] = (PolicySample, RelaxedSample), by_place: bool = False
    ) -> None:
        """Raise UserError for a draw that cannot be replayed here, see `augrad.policy.replay.require_replayable`."""
        require_replayable(draw, self.ops, self.tables, self.layout, kinds, by_place)

    # --- application -------------------------------------------------------------------------------------------------

    def forward(
        self,
        images: Tensor,
        params: PolicySample | RelaxedSample | None = None,
        *,
        masks: Tensor | None = None,
        boxes: Tensor | None = None,
        keypoints: Tensor | None = None,
        same_on_batch: bool = False,
        return_params: bool = False,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Augment `images` [B, C, H, W]; with `return_params` also what was drawn: as `params` it replays bit for bit.

        A relaxed `params` blends the candidates with its weights and needs floating point images.
        With targets the result is a named tuple (images, masks, boxes, keypoints), or (that tuple, what was drawn).
        masks: [B, H, W] or [B, C, H, W], any type; nearest, 0 where nothing was. boxes: [B, N, 4], x1 y1 x2 y2 in
        pixels, 0 and the width being the edges of the image; the hull of the moved corners, clipped to the image, of
        no area where a box has left it. keypoints: [B, N, 2], x y in pixels, (0, 0) being the centre of the first
        pixel; they may leave the image. Boxes and key points carry the magnitudes' gradient; in whole numbers they
        are rounded.
        Raises UserError for images or targets of another shape or type, for `params` of another batch size or drawn
        over other operations, and for targets that an operation of the policy cannot move or with a relaxed `params`.
        """
        given = Augmented(images, masks, boxes, keypoints)
        if not torch.compiler.is_compiling() and torch.utils.data.get_worker_info() is not None:
            # Gradients cannot leave a worker process, and a graph would keep the images from leaving it.
            with torch.no_grad():
                return self._augment(given, params, same_on_batch, return_params, generator)
        return self._augment(given, params, same_on_batch, return_params, generator)

    def _augment(
        self,
        given: Augmented,
        params: PolicySample | RelaxedSample | None,
        same_on_batch: bool,
        return_params: bool,
        generator: torch.Generator | None,
    ) -> Any:
        given = checked_call(given, params, self.ops, same_on_batch, return_params)
        if params is None:
            warn_in_evaluation(self.training)
            sample: PolicySample | RelaxedSample = self.sample(len(given.images), generator, same_on_batch)
        else:
            require_generator(generator)
            self.require_own(params)
            sample = params
        output, sample = apply_draw(
            self._application, given, sample, self.fill, self.interpolation, replayed=params is not None
        )
        return (output, sample) if return_params else output

    def to_torchvision(self) -> "PolicyTransform":
        """A copy of the policy as a `torchvision.transforms.v2.Transform`, for data sets and data loaders: see
        `augrad.policy.transform.PolicyTransform`. Normalise after it.

        Raises UserError for a policy with operations that need other images of the batch.
        """
        from augrad.policy.transform import PolicyTransform

        return PolicyTransform(self)

    def to_collate_fn(self, collate: Callable[[Any], Any] = default_collate, key: int | str = 0) -> "AugmentingCollate":
        """A copy of the policy as the `collate_fn` of a data loader: see `augrad.policy.collate.AugmentingCollate`."""
        from augrad.policy.collate import AugmentingCollate

        return AugmentingCollate(self, collate, key)

    def to_cuda_graphs(self) -> "GraphedPolicy":
        """A copy of the policy for training loops on a GPU, where a call of it is launched as a whole, which takes
        about a tenth of the time for small images: see `augrad.policy.graphed.GraphedPolicy`."""
        from augrad.policy.graphed import GraphedPolicy

        return GraphedPolicy(self)

    def selection_entropy(self) -> Float[Tensor, ""]:
        """Entropy, in nats, of what is selected for an image.

        The sub-policy's, plus the mean over sub-policies of the stages'.
        """
        weight = self.subpolicy_probabilities()
        stages = entropy(self.masked_op_logits()).sum(-1)
        return entropy(self.subpolicy_logits) + (weight * stages).sum()

    def with_params(self, params: PolicyParams, slots: Slots | None = None) -> "Policy":
        """A copy with other parameter values, and, where they are given, other slots.

        On the same device, in the same mode (`train`, `eval`), with the same parameters learned (`requires_grad`).
        Raises UserError for parameters of other shapes, or that are NaN.
        """
        slots = self.slots if slots is None else slots
        policy = Policy(self.ops, slots, params, self.interpolation, self.fill, self.provenance).to(self.device)
        for own, like in zip(policy.params.tensors(), self.params.tensors(), strict=True):
            own.requires_grad_(like.requires_grad)
        return policy.train(self.training)
