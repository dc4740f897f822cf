"""What a block without a graph of its gradient says."""

import torch


def refuse_second_derivative() -> None:
    """Raises RuntimeError in a backward pass that records a graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "create_graph=True reaches a dense block that saves memory, and whose gradient has no graph: "
            "build the generator with memory_efficient=False"
        )
