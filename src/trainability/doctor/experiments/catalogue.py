"""Every intervention by name, the smallest change first: of two that fix a program equally well, the first is the cause."""

from trainability.doctor.experiments.controls import CONTROLS
from trainability.doctor.experiments.data_changes import DATA_CHANGES
from trainability.doctor.experiments.function_changes import FUNCTION_CHANGES
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.loop_changes import LOOP_CHANGES
from trainability.doctor.experiments.loss_changes import LOSS_CHANGES
from trainability.doctor.experiments.network_changes import NETWORK_CHANGES
from trainability.doctor.experiments.optimizer_changes import OPTIMIZER_CHANGES
from trainability.doctor.experiments.weight_changes import WEIGHT_CHANGES

_CHANGES = (
    LOOP_CHANGES,
    LOSS_CHANGES,
    OPTIMIZER_CHANGES,
    NETWORK_CHANGES,
    FUNCTION_CHANGES,
    DATA_CHANGES,
    WEIGHT_CHANGES,
    CONTROLS,
)
_FOUND = {name: change for changes in _CHANGES for name, change in changes.items()}

_ORDER = (
    "zero_grad",
    "step_in_order",
    "train_mode",
    "all_parameters",
    "maximize_off",
    "update_reversed",
    "detach_off",
    "straight_through",
    "target_shape",
    "softmax_off",
    "sigmoid_off",
    "last_activation_off",
    "clip_off",
    "decay_off",
    "momentum_usual",
    "eps_usual",
    "dropout_off",
    "norm_usual",
    "mean_for_sum",
    "divergence_less",
    "batch_larger",
    "inputs_standard",
    "targets_standard",
    "shuffled",
    "batch_first",
    "relu_between",
    "positions_added",
    "biases_zero",
    "rate_held",
    "rates_alike",
    "rate_tenth",
    "rate_ten",
    "rate_hundredth",
    "rate_hundred",
    "rate_thousand",
    "odd_weights",
    "he",
    "xavier",
    "default_weights",
    "relu",
    "leaky_relu",
    "float32",
    "unfrozen",
    "clip_on",
    "plain_loop",
    "labels_permuted",
    "left_out",
    "future_exchanged",
)

INTERVENTIONS: dict[str, Intervention] = {name: _FOUND[name] for name in _ORDER}
