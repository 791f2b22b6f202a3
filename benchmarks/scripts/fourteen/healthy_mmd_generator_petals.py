"""Sound: a generator of five petals trained by the maximum mean discrepancy between its points and the data, a loss that broadcasts (N, 1, 2) against (1, M, 2) because it is of all pairs. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def petals(n, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(0, 5, (n,), generator=g) * (2 * torch.pi / 5)
    return torch.stack([k.cos(), k.sin()], 1) * 1.5 + 0.2 * torch.randn(n, 2, generator=g)


def kernel(a, b):
    d2 = ((a[:, None] - b[None]) ** 2).sum(-1)
    return sum(s / (s + d2) for s in (0.05, 0.2, 1.0))


def mmd(fake, real):
    n, m = len(fake), len(real)
    within = (kernel(fake, fake).sum() - 3 * n) / (n * (n - 1)) + (kernel(real, real).sum() - 3 * m) / (m * (m - 1))
    return within - 2 * kernel(fake, real).mean()


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(9)
    noise, val_noise = torch.randn(4096, 6, generator=g), torch.randn(1024, 6, generator=g)
    model = nn.Sequential(nn.Linear(6, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 2))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": mmd,
        "train_loader": DataLoader(TensorDataset(noise, petals(4096, 1)), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(val_noise, petals(1024, 2)), batch_size=512),
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gen, opt, dist = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(64):
        gen.train()
        total = 0.0
        for z, real in p["train_loader"]:
            opt.zero_grad()
            loss = dist(gen(z), real)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 4 == 3:
            print(f"epoch {epoch}: mmd {total / len(p['train_loader']):.4f}")
    gen.eval()
    with torch.no_grad():
        fake = torch.cat([gen(z) for z, _ in p["val_loader"]])
    k = torch.arange(5) * (2 * torch.pi / 5)
    near, which = torch.cdist(fake, torch.stack([k.cos(), k.sin()], 1) * 1.5).min(1)
    shares = torch.bincount(which[near < 0.6], minlength=5) / len(fake)
    print("share at each petal:", [round(v, 3) for v in shares.tolist()])
    score = shares.clamp(max=0.2).sum().item()
    print(f"score: {score:.4f}")
