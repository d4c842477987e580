"""Stand-in; see `hxtorch/__init__.py` beside it."""

import torch


def linear_saturating(weight, scale=1.0, min_weight=-63.0, max_weight=63.0):
    return torch.clamp(scale * weight, min_weight, max_weight)
