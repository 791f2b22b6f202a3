"""SIREN (sine net, omega 30) fitted to half of an image's pixels; the hidden layers keep PyTorch's default initialisation in place of SIREN's uniform(+-sqrt(6/n)/omega), so it fits the seen pixels as noise and the held-out ones are useless; the right change: SIREN's initialisation."""
import sys, math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

OMEGA = 30.0


class SineLayer(nn.Module):
    def __init__(self, i, o, first=False, siren_init=True):
        super().__init__()
        self.linear = nn.Linear(i, o)
        if siren_init:
            b = 1 / i if first else math.sqrt(6 / i) / OMEGA
            nn.init.uniform_(self.linear.weight, -b, b)

    def forward(self, x):
        return torch.sin(OMEGA * self.linear(x))


class Siren(nn.Module):
    def __init__(self, siren_init, h=64):
        super().__init__()
        self.net = nn.Sequential(SineLayer(2, h, True, siren_init), SineLayer(h, h, siren_init=siren_init), SineLayer(h, h, siren_init=siren_init), nn.Linear(h, 1))
        if siren_init:
            b = math.sqrt(6 / h) / OMEGA
            nn.init.uniform_(self.net[-1].weight, -b, b)

    def forward(self, xy):
        return self.net(xy)


def picture(s=64):
    v = torch.linspace(-1, 1, s)
    y, x = torch.meshgrid(v, v, indexing="ij")
    img = torch.sin(5 * x) * torch.cos(4 * y) + torch.exp(-8 * ((x - 0.3) ** 2 + (y + 0.2) ** 2)) * 2 + 0.5 * torch.sin(9 * (x * y))
    return torch.stack([x, y], -1).view(-1, 2), ((img - img.mean()) / img.std()).view(-1, 1)


def parts(variant):
    torch.manual_seed(0)
    xy, v = picture()
    p = torch.randperm(len(xy))
    a, b = p[:2048], p[2048:]
    model = Siren(siren_init=variant == "fixed")
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-4), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(xy[a], v[a]), 512, shuffle=True),
                val_loader=DataLoader(TensorDataset(xy[b], v[b]), 2048))


WORKS = lambda score: score < 0.2  # squared error at held-out pixels over their variance

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for it in range(150):
        for xy, v in p["train_loader"]:
            loss = p["loss_fn"](p["model"](xy), v)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        if it % 30 == 29:
            print(it + 1, loss.item())
    xy, v = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", (((p["model"](xy) - v) ** 2).mean() / v.var()).item())
