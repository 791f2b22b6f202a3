"""Every weight is watched where it is trained, and the probe takes batches of any structure."""

import pytest
import torch
from harmless_programs import SCENARIOS, Conv1D
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from trainability.doctor import Monitor, probe
from trainability.doctor.measure.layers import layers_of


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_weight_of_two_dimensions_is_left_out(name: str) -> None:
    model = SCENARIOS[name]().model
    followed = {id(weight) for layer in layers_of(model).values() for weight in layer.weights.values()}
    wanted = {id(p) for p in model.parameters() if not nn.parameter.is_lazy(p) and p.dim() >= 2}
    scripted = isinstance(model, torch.jit.ScriptModule)  # hands out another tensor at each call
    assert scripted or wanted <= followed


@pytest.mark.parametrize(
    ("module", "rows"),
    [
        (nn.LSTM(4, 3), {"m.weight_ih_l0": "recurrent", "m.weight_hh_l0": "recurrent"}),
        (nn.MultiheadAttention(4, 2), {"m": "attention", "m.out_proj": "linear"}),
        (Conv1D(4, 3), {"m": "other"}),
        (parametrizations.weight_norm(nn.Linear(4, 3)), {"m.parametrizations.weight.original0": "linear", "m": "linear"}),
        (nn.utils.spectral_norm(nn.Linear(4, 3)), {"m": "linear"}),
        (nn.BatchNorm1d(4), {"m": "norm"}),
    ],
)
def test_rows_carry_the_layer_s_name(module: nn.Module, rows: dict[str, str]) -> None:
    found = layers_of(nn.ModuleDict({"m": module}))
    assert {row: layer.kind for layer in found.values() for row in layer.weights} == rows


def test_the_activation_is_read_off_the_graph() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))

        def forward(self, x):
            x = F.relu6(self.a(x))
            x = torch.tanh(self.b(x).view(-1, 2, 2)).flatten(1)
            return self.d(self.c(x) + x)

    model = Functional()
    with Monitor(model) as monitor:
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        monitor.after_backward(loss)
    (sample,) = monitor.evidence().samples
    assert {layer.name: layer.activation for layer in sample.layers} == {"a": "relu6", "b": "tanh", "c": None, "d": None}


def test_token_logits_are_rows() -> None:
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 10))
    tokens = torch.randint(10, (4, 6))
    for labels in (tokens, tokens.flatten()):
        report = probe(model, lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()), tokens, labels)
        assert report.num_logits == 10
        assert report.cross_entropy == pytest.approx(report.loss, rel=1e-5)


def test_a_loss_that_reaches_no_parameter_is_one_line() -> None:
    images = torch.randn(4, 3).requires_grad_()
    with pytest.raises(ValueError, match="trainable parameter") as caught:
        probe(nn.Linear(3, 2), lambda output, labels: images.sum(), images, torch.zeros(4))
    assert "\n" not in str(caught.value)
