"""Initialisation by a plan: one scheme per weight layer, first to last.

`xavier:4,normal=0.01,xavier:3` draws the first four and the last three layers by Glorot's scheme, and every layer between them
with a standard deviation of 0.01. Biases are zero.
"""

from trainability.initialization.plan import InitPlan, Segment
from trainability.initialization.schemes import SCHEMES, Scheme
from trainability.initialization.transfer import copy_shallower
from trainability.initialization.weights import LayerInit, apply, fans, init_, promised_std, weight_layers

__all__ = [
    "SCHEMES",
    "InitPlan",
    "LayerInit",
    "Scheme",
    "Segment",
    "apply",
    "copy_shallower",
    "fans",
    "init_",
    "promised_std",
    "weight_layers",
]
