"""Next sample of a synthesizer's tone by a causal WaveNet-like convolution net, NAdam; weight_norm is put on every convolution after the optimizer was made, so that the new tensors of magnitude and direction are in no optimizer and the biases alone learn; change: weight_norm first."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset

T = 96


def tones(n, seed):
    g = torch.Generator().manual_seed(seed)
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, generator=g)
    t = torch.arange(T + 1)
    f = u(0.02, 0.09)
    carrier = 2 * math.pi * (f * t + u(0, 1))
    wave = torch.sin(carrier + u(0.5, 2.0) * torch.sin(2 * carrier)) + u(0.1, 0.5) * torch.sin(3 * carrier)
    wave = wave / wave.std(1, keepdim=True) + 0.05 * torch.randn(n, T + 1, generator=g)
    return wave[:, None, :-1], wave[:, None, 1:]


class GatedBlock(nn.Module):
    def __init__(self, width, dilation):
        super().__init__()
        self.pad = dilation
        self.filter_gate = nn.Conv1d(width, 2 * width, 2, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x):
        a, b = self.filter_gate(F.pad(x, (self.pad, 0))).chunk(2, 1)
        return x + self.mix(torch.tanh(a) * torch.sigmoid(b))


class TonePredictor(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.front = nn.Conv1d(1, width, 1)
        self.blocks = nn.Sequential(*[GatedBlock(width, d) for d in (1, 2, 4, 8)])
        self.head = nn.Conv1d(width, 1, 1)

    def forward(self, x):
        return self.head(torch.relu(self.blocks(self.front(x))))


def add_weight_norm(model):
    for m in model.modules():
        if isinstance(m, nn.Conv1d):
            weight_norm(m)
    return model


def parts(variant):
    torch.manual_seed(0)
    model = TonePredictor()
    if variant == "bad":
        optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)
        add_weight_norm(model)
    else:
        add_weight_norm(model)
        optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*tones(800, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*tones(200, 2)), batch_size=100),
        "metric": lambda output, target: (1 - F.mse_loss(output, target) / target.var()).item(),
    }


@torch.no_grad()
def explained(model, loader):
    model.eval()
    pairs = [(model(x), y) for x, y in loader]
    out, ref = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    model.train()
    return (1 - F.mse_loss(out, ref) / ref.var()).item()


WORKS = lambda score: score > 0.8  # the first samples of a tone cannot be foretold

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 9):
        for i, (x, y) in enumerate(p["train_loader"], 1):
            loss = mse(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}  last batch mse {loss.item():.4f}  explained variance {explained(model, p['val_loader']):.3f}")
    value = explained(model, p["val_loader"])
    print(f"score: {value:.4f}")
