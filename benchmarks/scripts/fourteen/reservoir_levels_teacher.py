"""Reservoir level from gate settings, GRU encoder and decoder with teacher forcing; bad: `prev[real][:, 1:] = ...` writes into a copy, so the decoder is fed zeros. change: prev[real, 1:] = ..., which writes into prev."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T = 20


def reservoirs(n, seed):
    g = torch.Generator().manual_seed(seed)
    gates = torch.rand(n, T, 2, generator=g)
    hidden_inflow = torch.randn(n, T, generator=g)
    change = 0.25 * (gates[:, :, 0] - gates[:, :, 1]) + 0.3 * hidden_inflow
    level = (torch.randn(n, 1, generator=g) + change.cumsum(1)).tanh() * 1.5
    length = torch.randint(1, T + 1, (n,), generator=g)
    return TensorDataset(gates, level, length)


class LevelModel(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.encoder = nn.GRU(2, hidden, batch_first=True)
        self.decoder = nn.GRU(1 + hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, gates, prev):
        context, last = self.encoder(gates)
        y, _ = self.decoder(torch.cat([prev[:, :, None], context], 2), last)
        return self.out(y).squeeze(-1)


def make_inputs(variant):
    def previous(level, length):
        prev = torch.zeros_like(level)
        real = length > 1
        if variant == "bad":
            prev[real][:, 1:] = level[real, :-1]
        else:
            prev[real, 1:] = level[real, :-1]
        return prev
    return previous


def parts(variant):
    torch.manual_seed(0)
    previous = make_inputs(variant)

    def training_step(model, batch):
        gates, level, length = batch
        out = model(gates, previous(level, length))
        valid = torch.arange(T, device=level.device) < length[:, None]
        return ((out - level) ** 2)[valid].mean()

    model = LevelModel()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "training_step": training_step,
        "train_loader": DataLoader(reservoirs(2000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(reservoirs(400, 2), batch_size=200),
    }


@torch.no_grad()
def one_step_r2(model, loader):
    model.eval()
    out, ref = [], []
    for gates, level, length in loader:
        prev = torch.cat([torch.zeros(len(level), 1), level[:, :-1]], 1)
        valid = (torch.arange(T) < length[:, None]) & (torch.arange(T) > 0)
        out.append(model(gates, prev)[valid])
        ref.append(level[valid])
    out, ref = torch.cat(out), torch.cat(ref)
    return (1 - ((out - ref) ** 2).mean() / ref.var()).item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: mse {total / len(p['train_loader']):.4f}")
    score = one_step_r2(model, p["val_loader"])
    print(f"score: {score:.4f}")
