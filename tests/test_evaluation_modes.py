"""Scripts that evaluate in train mode: told of validation, and not of passes that are meant to run so."""

from pathlib import Path

import pytest

from trainability.cli import program as cli

SCRIPT = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(800, 12)
y = x[:, :4].argmax(dim=1)
train = DataLoader(TensorDataset(x[:600], y[:600]), batch_size=30, shuffle=True)
valid = DataLoader(TensorDataset(x[600:], y[600:]), batch_size=50)
LAYERS
optimizer = torch.optim.Adam(model.parameters(), 1e-2)

def call(x):
    CALL

for epoch in range(3):
    model.train()
    for a, b in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(call(a), b).backward()
        optimizer.step()
    MODE
    with torch.no_grad():
        for a, b in LOADER:
            REPEAT
"""
NORM = "model = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))"
DROPOUT = "model = nn.Sequential(nn.Linear(12, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 4))"
PLAIN = "model = nn.Sequential(nn.Linear(12, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 4))"
PARTS = "model = nn.ModuleDict({'a': nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32)), 'b': nn.Linear(32, 4)})"
READS = """
class Reads(nn.Module):
    def forward(self, x):
        return x * 1.0 if self.training else x

model = nn.Sequential(nn.Linear(12, 32), Reads(), nn.Dropout(0.0), nn.Linear(32, 4))
"""
WHOLE, IN_PARTS = "return model(x)", "return model['b'](model['a'](x).relu())"
ONCE, OFTEN = "call(a)", "torch.stack([call(a) for _ in range(8)]).mean(0)"
TOGETHER = "call(a.repeat_interleave(8, 0)).unflatten(0, (-1, 8)).mean(1)"
KEPT = "call(a); break\n    import copy, io\n    torch.save(copy.deepcopy(model), io.BytesIO())"
SAME = "DataLoader(TensorDataset(*train.dataset.tensors), batch_size=50)"
SCRIPTS: dict[str, tuple[str, str, str, str, str, bool]] = {  # layers, call, mode, loader, what is done, told
    "batch norm": (NORM, WHOLE, "pass", "valid", ONCE, True),
    "dropout": (DROPOUT, WHOLE, "pass", "valid", ONCE, True),
    "parts": (PARTS, IN_PARTS, "pass", "valid", ONCE, True),
    "evaluated": (NORM, WHOLE, "model.eval()", "valid", ONCE, False),
    "parts, evaluated": (PARTS, IN_PARTS, "model['a'].eval()", "valid", ONCE, False),
    "no layer that asks": (PLAIN, WHOLE, "pass", "valid", ONCE, False),
    "draws that are averaged": (DROPOUT, WHOLE, "pass", "valid", OFTEN, False),
    "draws in one batch": (DROPOUT, WHOLE, "pass", "valid", TOGETHER, False),
    "a mode that makes no difference": (READS, WHOLE, "pass", "valid", ONCE, False),
    "left, copied and saved": (NORM, WHOLE, "pass", "valid", KEPT, True),
    "the same data in another set": (NORM, WHOLE, "pass", SAME, ONCE, False),
    "accuracy on what is trained on": (NORM, WHOLE, "pass", "train", ONCE, False),
    "at times": (NORM, WHOLE, "model.train(epoch == 1)", "valid", ONCE, False),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_evaluation_in_train_mode_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    layers, call, mode, loader, done, told = SCRIPTS[name]
    text = SCRIPT.replace("LAYERS", layers).replace("CALL", call).replace("MODE", mode)
    script = tmp_path / "train.py"
    script.write_text(text.replace("LOADER", loader).replace("REPEAT", done))
    with pytest.raises(SystemExit):
        cli.main(["run", "--dir", str(tmp_path / "run"), str(script)])
    printed = "".join(capsys.readouterr())
    assert ("wrong_mode.evaluation" in printed) == told
    assert "Traceback" not in printed
