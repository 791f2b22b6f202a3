"""Wear of a cutting tool from its vibration spectrum and the machine's settings, a net of two branches; mistake: the settings are written lathe by lathe by table[rows][:, j] = values, which fills a copy, so the settings branch gets zeros only; change: table[rows, j] = values."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BINS, LATHES = 40, 5
SETTINGS = ("speed", "feed", "depth")


def workshop(n, seed):
    g = torch.Generator().manual_seed(seed)
    lathe = torch.randint(0, LATHES, (n,), generator=g)
    logs = {"speed": 600 + 300 * torch.rand(n, generator=g), "feed": 0.1 + 0.3 * torch.rand(n, generator=g), "depth": 0.5 + 2 * torch.rand(n, generator=g)}
    s, f, d = (logs[k] for k in SETTINGS)
    tone = torch.rand(n, 2, generator=g)
    place = torch.linspace(0, 1, BINS)
    spectrum = torch.exp(-0.5 * ((place - tone[:, :1]) / 0.06) ** 2) + 0.1 * torch.randn(n, BINS, generator=g)
    load = (s - 750) / 87 * (f - 0.25) / 0.087 + 0.8 * ((d - 1.5) / 0.58) ** 2
    wear = load + 1.0 * tone[:, 0] + 0.1 * torch.randn(n, generator=g)
    return spectrum, lathe, logs, wear


def settings_table(lathe, logs, variant):
    """Each lathe has its own log, on its own scale."""
    table = torch.zeros(len(lathe), len(SETTINGS))
    for k in range(LATHES):
        rows = torch.where(lathe == k)[0]
        for j, name in enumerate(SETTINGS):
            values = logs[name][rows]
            values = (values - values.mean()) / values.std()
            if variant == "bad":
                table[rows][:, j] = values
            else:
                table[rows, j] = values
    return table


class WearNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.vibration = nn.Sequential(nn.Linear(BINS, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())
        self.settings = nn.Sequential(nn.Linear(len(SETTINGS), 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, spectrum, settings):
        return self.head(torch.cat([self.vibration(spectrum), self.settings(settings)], 1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    sets = []
    for n, seed in ((3000, 1), (600, 2)):
        spectrum, lathe, logs, wear = workshop(n, seed)
        sets.append([spectrum, settings_table(lathe, logs, variant), wear])
    mean, std, w_mean, w_std = sets[0][0].mean(0), sets[0][0].std(0), sets[0][2].mean(), sets[0][2].std()
    train, val = (TensorDataset((s - mean) / std, t, (w - w_mean) / w_std) for s, t, w in sets)
    model = WearNet()

    def training_step(model, batch):
        spectrum, settings, wear = batch
        return nn.functional.smooth_l1_loss(model(spectrum, settings), wear)

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "training_step": training_step,
        "train_loader": DataLoader(train, batch_size=64, shuffle=True),
        "val_loader": DataLoader(val, batch_size=200),
    }


@torch.no_grad()
def r_squared(model, loader):
    model.eval()
    out, wear = zip(*[(model(s, t), w) for s, t, w in loader])
    out, wear = torch.cat(out), torch.cat(wear)
    return 1 - ((out - wear) ** 2).mean().item() / wear.var().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, R2 {r_squared(model, p['val_loader']):.3f}")
    print(f"score: {r_squared(model, p['val_loader']):.4f}")
