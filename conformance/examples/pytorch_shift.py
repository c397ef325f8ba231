"""A TSM shift as PyTorch users write it, ready to be judged."""

import torch
from torch import Tensor, nn


class Shift(nn.Module):
    """MIT's shift of clips whose frames are merged with the batch, (N*T, C, H, W)."""

    declaration = {"profile": "mit", "capabilities": {"layout": "(NT)CHW"}}  # noqa: RUF012

    def forward(self, x: Tensor, segments: int, fold_div: int = 8) -> Tensor:
        """Move the first fold one frame back and the second one forth."""
        x = x.view(-1, segments, *x.shape[1:])
        f, y = x.shape[2] // fold_div, torch.zeros_like(x)
        y[:, :-1, :f] = x[:, 1:, :f]
        y[:, 1:, f : 2 * f] = x[:, :-1, f : 2 * f]
        y[:, :, 2 * f :] = x[:, :, 2 * f :]
        return y.view(-1, *x.shape[2:])
