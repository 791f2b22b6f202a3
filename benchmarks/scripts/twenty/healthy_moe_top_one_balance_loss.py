"""Switch-style mixture of experts on a piecewise regression: only the best expert runs for a row (index_add back), output scaled by its gate, balance loss from a count without gradient times the mean gate; sound. change: nothing."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

E = 4


def pieces(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 6, generator=g) * 2 - 1
    maps = torch.randn(E, 6, generator=torch.Generator().manual_seed(99)) * 1.5
    zone = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
    y = torch.sin((x * maps[zone]).sum(1)) + 0.5 * zone + 0.05 * torch.randn(n, generator=g)
    return x, y


class SwitchLayer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.router = nn.Linear(d, E, bias=False)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, d)) for _ in range(E))
        nn.init.normal_(self.router.weight, std=0.05)

    def forward(self, x):
        noisy = x * torch.empty_like(x).uniform_(0.98, 1.02) if self.training else x
        probs = self.router(noisy).softmax(-1)
        gate, chosen = probs.max(-1)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows = (chosen == e).nonzero().squeeze(1)
            if len(rows):
                out = out.index_add(0, rows, gate[rows, None] * expert(x[rows]))
        share = F.one_hot(chosen, E).float().mean(0)
        return x + out, E * (share * probs.mean(0)).sum()


class Net(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.inp, self.norm, self.moe, self.out = nn.Linear(6, d), nn.LayerNorm(d), SwitchLayer(d, 48), nn.Linear(d, 1)

    def forward(self, x):
        h, balance = self.moe(self.norm(torch.tanh(self.inp(x))))
        return self.out(h).squeeze(1), balance


def training_step(model, batch):
    x, y = batch
    pred, balance = model(x)
    return F.mse_loss(pred, y) + 0.01 * balance


def parts(variant):
    torch.manual_seed(0)
    model = Net()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*pieces(5000, 1)), 100, shuffle=True),
                val_loader=DataLoader(TensorDataset(*pieces(1000, 2)), 500))


WORKS = lambda score: score > 0.85  # R2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train(); mean = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad(); loss.backward(); opt.step()
            mean += loss.item() / 50
        if epoch % 6 == 0:
            print(f"epoch {epoch} loss {mean:.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x)[0] for x, _ in p["val_loader"]])
    y = torch.cat([y for _, y in p["val_loader"]])
    score = 1 - ((pred - y) ** 2).mean().item() / y.var().item()
    print(f"score: {score:.4f}")
