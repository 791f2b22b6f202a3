"""Position of a valve from its stepper pulses, an LSTMCell stepped by hand; bad: x.unbind(0) walks over the batch of a batch-first tensor, so the state goes from example to example and not through time. change: x.unbind(1), and the outputs stacked along 1."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def pulses(n, seed, T=30):
    g = torch.Generator().manual_seed(seed)
    direction = torch.where(torch.rand(n, T, generator=g) < 0.5, -1.0, 1.0)
    fired = (torch.rand(n, T, generator=g) < 0.6).float()
    noise = 0.1 * torch.randn(n, T, 2, generator=g)
    position = torch.zeros(n, T)
    at = torch.zeros(n)
    for t in range(T):
        at = (at + 0.25 * direction[:, t] * fired[:, t]).clamp(-1, 1)
        position[:, t] = at
    return TensorDataset(torch.stack([direction, fired], 2) + noise, position)


class ValveTracker(nn.Module):
    def __init__(self, time_dim, hidden=32):
        super().__init__()
        self.cell = nn.LSTMCell(2, hidden)
        self.read = nn.Linear(hidden, 1)
        self.hidden = hidden
        self.time_dim = time_dim

    def forward(self, x):
        dim = self.time_dim
        h = x.new_zeros(x.shape[1 - dim], self.hidden)
        c = torch.zeros_like(h)
        outs = []
        for pulse in x.unbind(dim):
            h, c = self.cell(pulse, (h, c))
            outs.append(h)
        return self.read(torch.stack(outs, dim)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = ValveTracker(time_dim=0 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss_fn": nn.L1Loss(),
        "train_loader": DataLoader(pulses(1200, 1), batch_size=40, shuffle=True),
        "val_loader": DataLoader(pulses(200, 2), batch_size=40),
    }


WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, l1 = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = l1(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            errors = [l1(model(x), y).item() for x, y in p["val_loader"]]
        score = sum(errors) / len(errors)
        print(f"epoch {epoch}: train {total / len(p['train_loader']):.4f} val {score:.4f}")
    print(f"score: {score:.4f}")
