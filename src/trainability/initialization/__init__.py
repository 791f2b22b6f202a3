"""Starting weights by a written plan: one scheme per weight layer, first to last.

`xavier:4,normal=0.01,xavier:3` gives the first four layers Glorot's scheme, the last three too, and every layer between them
N(0, 0.01). Biases are zero.
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
