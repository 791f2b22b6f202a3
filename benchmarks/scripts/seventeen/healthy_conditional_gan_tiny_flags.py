"""Sound: conditional GAN of 6x6 pictures (horizontal, vertical and diagonal stripes), tanh against pictures in [-1, 1], projection judge with spectral norm, hinge loss; nothing to change."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

grid = torch.arange(6)
PATTERNS = torch.stack([(grid[:, None] // 2 % 2).expand(6, 6), (grid[None] // 2 % 2).expand(6, 6),
                        ((grid[:, None] + grid[None]) // 2 % 2)]).float() * 1.6 - 0.8


def flags(n):
    kind = torch.randint(3, (n,))
    sign = torch.randint(2, (n, 1, 1)) * 2.0 - 1
    return (PATTERNS[kind] * sign + 0.08 * torch.randn(n, 6, 6)).clamp(-1, 1).unsqueeze(1), kind


class FlagMaker(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.z = z
        self.kind = nn.Embedding(3, 8)
        self.fc = nn.Linear(z + 8, 32 * 3 * 3)
        self.up = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
                                nn.Conv2d(16, 1, 3, padding=1), nn.Tanh())

    def forward(self, kind):
        h = self.fc(torch.cat([torch.randn(len(kind), self.z), self.kind(kind)], 1))
        return self.up(h.view(-1, 32, 3, 3))


class FlagJudge(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(spectral_norm(nn.Conv2d(1, 16, 3, padding=1)), nn.LeakyReLU(0.2),
                                  spectral_norm(nn.Conv2d(16, 32, 4, stride=2, padding=1)), nn.LeakyReLU(0.2), nn.Flatten(),
                                  spectral_norm(nn.Linear(288, 64)), nn.LeakyReLU(0.2))
        self.out = spectral_norm(nn.Linear(64, 1))
        self.kind = spectral_norm(nn.Embedding(3, 64))

    def forward(self, x, kind):
        h = self.conv(x)
        return self.out(h).squeeze(1) + (h * self.kind(kind)).sum(1)


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleDict({"maker": FlagMaker(), "judge": FlagJudge()})
    optimizer = [torch.optim.Adam(model["maker"].parameters(), lr=1e-3, betas=(0.0, 0.9)),
                 torch.optim.Adam(model["judge"].parameters(), lr=2e-3, betas=(0.0, 0.9))]

    def step(model, batch, optimizer):
        opt_maker, opt_judge = optimizer
        x, kind = batch
        made = model["maker"](kind)
        loss_judge = F.relu(1 - model["judge"](x, kind)).mean() + F.relu(1 + model["judge"](made.detach(), kind)).mean()
        opt_judge.zero_grad()
        loss_judge.backward()
        opt_judge.step()
        loss_maker = -model["judge"](made, kind).mean()
        opt_maker.zero_grad()
        loss_maker.backward()
        opt_maker.step()
        return loss_judge

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(*flags(3000)), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*flags(300)), batch_size=60)}


# share of made flags whose correlation with the ordered pattern (of either sign) is the largest and above 0.7
WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        d = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} judge {sum(d) / len(d):.3f}")
    kind = torch.arange(3).repeat(200)
    with torch.no_grad():
        made = F.normalize(p["model"]["maker"](kind).flatten(1), dim=1)
    corr = (made @ F.normalize(PATTERNS.flatten(1), dim=1).T).abs()
    score = ((corr.argmax(1) == kind) & (corr.max(1).values > 0.7)).float().mean().item()
    print(f"score: {score:.4f}")
