"""MAML on waves of random height and phase: inner steps on a plain list of tensors with create_graph, the query loss of each task added up and backpropagated through the inner steps; sound. change: nothing."""
import sys
import math
import torch
from torch import nn
import torch.nn.functional as F

INNER_LR, SHOTS = 0.02, 10


class WaveTasks:
    def __init__(self, batches, tasks, seed):
        self.batches, self.tasks, self.seed = batches, tasks, seed

    def __len__(self):
        return self.batches

    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed)
        for _ in range(self.batches):
            amp = 0.5 + 3.5 * torch.rand(self.tasks, 1, 1, generator=g)
            phase = math.pi * torch.rand(self.tasks, 1, 1, generator=g)
            x = 10 * torch.rand(self.tasks, 2 * SHOTS, 1, generator=g) - 5
            y = amp * torch.sin(x + phase)
            yield x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


class Sine(nn.Module):
    def __init__(self, h=40):
        super().__init__()
        sizes = [(h, 1), (h, h), (1, h)]
        self.vars = nn.ParameterList()
        for o, i in sizes:
            w = torch.empty(o, i)
            nn.init.kaiming_uniform_(w, a=math.sqrt(5) if i > 1 else 1.0)
            self.vars.append(nn.Parameter(w))
            self.vars.append(nn.Parameter(torch.empty(o).uniform_(-1, 1) / math.sqrt(i)))

    def forward(self, x, vars=None):
        v = list(self.vars) if vars is None else vars
        x = torch.relu(F.linear(x, v[0], v[1]))
        x = torch.relu(F.linear(x, v[2], v[3]))
        return F.linear(x, v[4], v[5])


def adapt(model, x, y, steps=1, create_graph=True):
    fast = list(model.vars)
    for _ in range(steps):
        grads = torch.autograd.grad(F.mse_loss(model(x, fast), y), fast, create_graph=create_graph)
        fast = [w - INNER_LR * g for w, g in zip(fast, grads)]
    return fast


def training_step(model, batch):
    losses = []
    for xs, ys, xq, yq in zip(*batch):
        fast = adapt(model, xs, ys)
        losses.append(F.mse_loss(model(xq, fast), yq))
    return torch.stack(losses).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Sine()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), training_step=training_step,
                train_loader=WaveTasks(100, 10, 1), val_loader=WaveTasks(10, 20, 2))


WORKS = lambda score: score < 1.0  # query error after 5 inner steps on new waves; always saying 0 has about 3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(9):
        mean = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            mean += loss.item() / 100
        print(f"epoch {epoch} query loss {mean:.4f}")
    errors = []
    for batch in p["val_loader"]:
        for xs, ys, xq, yq in zip(*batch):
            errors.append(F.mse_loss(p["model"](xq, adapt(p["model"], xs, ys, 5, False)), yq).item())
    score = sum(errors) / len(errors)
    print(f"score: {score:.4f}")
