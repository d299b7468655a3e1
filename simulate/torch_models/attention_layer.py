"""Softmax attention of several heads in tensors of PyTorch."""

from typing import Any

from .protocol import Tensor, Tensors


def refuse_uneven_heads(dimension: int, heads: int) -> None:
    """ValueError unless the heads share the dimension.

    >>> refuse_uneven_heads(48, 5)
    Traceback (most recent call last):
    ValueError: heads must divide the dimension 48, not 5
    """
    if dimension % heads:
        raise ValueError(f"heads must divide the dimension {dimension}, not {heads}")


def attended(
    torch: Any,
    weights: Tensors,
    queries: Tensor,
    tokens: Tensor,
    *,
    is_hidden: Tensor | None = None,
) -> Tensor:
    """What all heads together add at the queries (P, M, D), from tokens (P, N, D).

    `weights` Q, K and V are (H, R, D) and O is (H, D, R); scores are divided by √R. `is_hidden` (M, N) is True where
    a query does not see a token.
    """
    rank = weights["Q"].shape[1]
    query = torch.einsum("hrd,pmd->phmr", weights["Q"], queries)
    key = torch.einsum("hrd,pnd->phnr", weights["K"], tokens)
    value = torch.einsum("hrd,pnd->phnr", weights["V"], tokens)
    scores = query @ key.transpose(-1, -2) / rank**0.5  # (P, H, M, N)
    if is_hidden is not None:
        scores = scores.masked_fill(is_hidden, float("-inf"))
    mixed = torch.softmax(scores, dim=-1) @ value  # (P, H, M, R)
    return torch.einsum("hdr,phmr->pmd", weights["O"], mixed)
