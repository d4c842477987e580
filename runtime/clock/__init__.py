"""The clock engine: networks on a grid of time, batched, with surrogate gradients."""
