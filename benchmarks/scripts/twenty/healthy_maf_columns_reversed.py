"""Masked autoregressive flow on the three columns of the Swiss roll: masks as buffers, columns reversed between layers, output weights start at zero, log density goes up through the whole run; sound. change: nothing."""
import sys
import math
import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import make_swiss_roll
from torch.utils.data import DataLoader, TensorDataset


class MaskedLinear(nn.Linear):
    def __init__(self, i, o, mask, zero=False):
        super().__init__(i, o)
        self.register_buffer("mask", mask)
        if zero:
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    def __init__(self, d, h=64):
        super().__init__()
        deg_in, deg_h = torch.arange(1, d + 1), torch.arange(h) % (d - 1) + 1
        first = (deg_h[:, None] >= deg_in[None]).float()
        mid = (deg_h[:, None] >= deg_h[None]).float()
        last = (deg_in[:, None] > deg_h[None]).float().repeat(2, 1)
        self.net = nn.Sequential(MaskedLinear(d, h, first), nn.ReLU(), MaskedLinear(h, h, mid), nn.ReLU(),
                                 MaskedLinear(h, 2 * d, last, zero=True))

    def forward(self, x):
        shift, log_scale = self.net(x).chunk(2, -1)
        log_scale = 3 * torch.tanh(log_scale / 3)
        return (x - shift) * torch.exp(-log_scale), -log_scale.sum(-1)


class MAF(nn.Module):
    def __init__(self, d, layers=6):
        super().__init__()
        self.d, self.layers = d, nn.ModuleList(MADE(d) for _ in range(layers))

    def forward(self, x):
        total = 0
        for layer in self.layers:
            x, logdet = layer(x)
            x, total = x.flip(-1), total + logdet
        return total - 0.5 * x.pow(2).sum(-1) - 0.5 * self.d * math.log(2 * math.pi)


def training_step(model, batch):
    return -model(batch[0]).mean()


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(make_swiss_roll(7000, noise=0.3, random_state=0)[0], dtype=torch.float32)
    x = (x - x[:6000].mean(0)) / x[:6000].std(0)
    model = MAF(3)
    opt = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=1e-6)
    return dict(model=model, optimizer=opt, training_step=training_step, train_loader=DataLoader(TensorDataset(x[:6000]), 200, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[6000:]), 1000))


WORKS = lambda score: score > -3.4  # held-out log density; a single Gaussian has about -4.25

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        seen = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
            seen += loss.item() / 30
        if epoch % 5 == 0:
            print(f"epoch {epoch} loss {seen:.4f}")
    with torch.no_grad():
        score = p["model"](next(iter(p["val_loader"]))[0]).mean().item()
    print(f"score: {score:.4f}")
