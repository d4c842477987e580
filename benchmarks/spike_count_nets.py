"""The networks of Bacho & Chu (Neural Computation 35:1627, 2023) for MNIST by counts of spikes, as spikec graphs.

Their model is u' = -u / tau + v, v' = -v / tau_s, v += w at a spike, with tau = 2 tau_s; a neuron fires at theta, and u
starts again from 0. Constants are those of the authors' code (github.com/Florian-BACHO/bats, experiments/mnist). There
a layer stores so many spikes of a neuron at most and leaves out the rest; here all are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import spikec

Array = np.ndarray[Any, np.dtype[Any]]
TAU_SYN, TAU_MEM = 0.130, 0.260
T_MAX, DURATION = 0.100, 0.200
SIDE = 28
DENSE_THRESHOLDS = (0.2, 1.3)
CONV_THRESHOLDS = (0.08, 0.8, 0.6, 0.3)
"""The first is 0.04 there, with one spike a neuron at most: twice as much leaves about as many."""
LAYERS = {"784-800-10": ("hidden", "label"), "15C5-P2-40C5-P2-300-10": ("conv1", "conv2", "hidden", "label")}


def _cells(net: spikec.Builder, name: str, shape: int | tuple[int, ...], threshold: float) -> spikec.Handle:
    return net.cubalif(name, shape, tau_mem=TAU_MEM, tau_syn=TAU_SYN, r=TAU_MEM, w_in=TAU_SYN, v_threshold=threshold)


def dense(seed: int = 0, thresholds: tuple[float, ...] = DENSE_THRESHOLDS, hidden: int = 800) -> spikec.Graph:
    """784-800-10, weights uniform in ±1."""
    draw, net = np.random.default_rng(seed), spikec.Builder()
    inner = _cells(net, "hidden", hidden, thresholds[0])
    label = _cells(net, "label", 10, thresholds[1])
    net.connect(net.input("in", SIDE * SIDE), inner, weight=draw.uniform(-1, 1, (hidden, SIDE * SIDE)), name="fc1")
    net.connect(inner, label, weight=draw.uniform(-1, 1, (10, hidden)), name="fc2")
    net.output("out", label)
    return net.build()


def convolutional(seed: int = 0, thresholds: tuple[float, ...] = CONV_THRESHOLDS) -> spikec.Graph:
    """15C5-P2-40C5-P2-300-10, weights uniform in ±1; P2 passes on the spikes of 2 x 2 neurons."""
    draw, net = np.random.default_rng(seed), spikec.Builder()
    first = _cells(net, "conv1", (15, 24, 24), thresholds[0])
    source = net.input("in", (1, SIDE, SIDE))
    net.connect(net.conv2d("kernel1", source, weight=draw.uniform(-1, 1, (15, 1, 5, 5))), first)
    second = _cells(net, "conv2", (40, 8, 8), thresholds[1])
    pooled = net.sum_pool2d("pool1", first, 2)
    net.connect(net.conv2d("kernel2", pooled, weight=draw.uniform(-1, 1, (40, 15, 5, 5))), second)
    inner, label = _cells(net, "hidden", 300, thresholds[2]), _cells(net, "label", 10, thresholds[3])
    flat = net.flatten("flat", net.sum_pool2d("pool2", second, 2))
    net.connect(flat, inner, weight=draw.uniform(-1, 1, (300, 640)), name="fc1")
    net.connect(inner, label, weight=draw.uniform(-1, 1, (10, 300)), name="fc2")
    net.output("out", label)
    return net.build()


def encode(images: Array) -> spikec.Events:
    """t = 100 ms (1 - pixel / 255); a pixel of 0 gives no spike."""
    return spikec.encoders.latency(images, T_MAX)
