"""Named terms × weights → total."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32, check_same_shape, check_weight


@final
class WeightedLoss(nn.Module):
    """L = Σ_name weights[name] · term[name], ESRGAN's L_G = L_percep + λ L_G^Ra + η L_1 (section 3.3).

    Image terms are computed here from (sr, hr); *given* terms by the caller, as the stage computes the
    adversarial one from the discriminator's logits. A term of weight 0 is not computed.

    Args:
        terms: Image terms: modules that map (sr, hr) to a scalar.
        weights: The weight of every term, image or given: finite and at least 0, not all of them 0.
        given: Names of the terms whose value is handed to ``forward``.

    Raises:
        InputError: A weight without term, a term without weight, or a weight out of range.

    >>> import torch
    >>> weights = {"pixel": 1e-2, "adversarial": 5e-3}
    >>> losses = WeightedLoss({"pixel": nn.L1Loss()}, weights, given=["adversarial"])
    >>> sr, hr = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    >>> total, values = losses(sr, hr, adversarial=torch.tensor(2.0))
    >>> round(total.item(), 6), {name: value.item() for name, value in values.items()}
    (0.015, {'pixel': 0.5, 'adversarial': 2.0})
    """

    def __init__(
        self, terms: Mapping[str, nn.Module], weights: Mapping[str, float], *, given: Sequence[str] = ()
    ) -> None:
        super().__init__()
        known = [*terms, *given]
        for name, weight in weights.items():
            if name not in known:
                raise InputError(
                    f"weights.{name}={weight}: there is no such term, expected {', '.join(known)}"
                )
            check_weight(f"weights.{name}", weight)
        for name in known:
            if name not in weights:
                raise InputError(f"the term {name} has no weight: add weights.{name}, 0 switches it off")
        if len(set(known)) != len(known):
            raise InputError(f"terms {', '.join(known)}: each name may stand only once")
        if not any(weights.values()):
            raise InputError(f"weights={dict(weights)}: at least one has to be above 0")
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights)
        self.given = tuple(given)

    def needs(self, name: str) -> bool:
        """Whether the total contains this term: what a caller asks before it computes a given term."""
        return self.weights.get(name, 0) > 0

    def forward(self, sr: Tensor, hr: Tensor, **given: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and each term's own value.

        Args:
            sr: (B,3,H,W), [0,1], with its graph.
            hr: The truth, of the same shape.
            **given: Scalars of the given terms whose weight is above 0.

        Returns:
            The total with its graph, and ``{name: value}`` for the log: unweighted, detached, float32.

        Raises:
            InputError: The shapes differ.
            TypeError: A given term is missing or was not announced.
        """
        check_same_shape(sr, hr)
        expected = {name for name in self.given if self.needs(name)}
        if not expected <= set(given) <= set(self.given):
            raise TypeError(f"given terms {sorted(given)}: expected {sorted(expected)}")
        sr, hr = at_least_float32(sr), at_least_float32(hr)
        total = sr.new_zeros(())
        values: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            if weight > 0:
                value = at_least_float32(given[name] if name in given else self.terms[name](sr, hr))
                total = total + weight * value
                values[name] = value.detach()
        return total, values
