"""Vanilla nn.RNN (relu) that reads 80 steps of a noisy meter and gives the reading accumulated over the marked steps, SGD with momentum; bad: the gradients through 80 steps explode and nothing bounds them, the loss leaps and ends in nan; change: clip_grad_norm_ before the step."""
import sys

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset

STEPS = 80


def readings(n, seed):
    g = torch.Generator().manual_seed(seed)
    value = torch.randn(n, STEPS, generator=g)
    mark = (torch.rand(n, STEPS, generator=g) < 0.1).float()
    total = (value * mark).sum(1, keepdim=True) / 2.8
    return torch.stack([value, mark, value * mark], dim=2), total


class MeterRNN(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.rnn = nn.RNN(3, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)
        self.rnn.weight_hh_l0.data.add_(0.01 * torch.randn(hidden, hidden))
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)
        nn.init.zeros_(self.rnn.bias_hh_l0)
        nn.init.zeros_(self.rnn.bias_ih_l0)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        _, h = self.rnn(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    model = MeterRNN()
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        if variant != "bad":
            clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return dict(model=model, step=step, optimizer=torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9),
                train_loader=DataLoader(TensorDataset(*readings(2000, 1)), batch_size=50, shuffle=True),
                val_loader=DataLoader(TensorDataset(*readings(500, 2)), batch_size=250))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, step, optimizer = p["model"], p["step"], p["optimizer"]
    for epoch in range(20):
        history = [step(model, batch, optimizer).item() for batch in p["train_loader"]]
        print(f"epoch {epoch:2d}  mean {sum(history) / len(history):.4f}  last {history[-1]:.4f}")
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in p["val_loader"]]
    out, y = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    score = (1 - ((out - y) ** 2).mean() / y.var()).nan_to_num(-1.0).clamp(min=-1).item()
    print(f"score: {score:.4f}")
