"""Two towers trained with InfoNCE: the reading of a handheld electronic nose and the gas chromatogram of the same truffle are to be matched. The cosine similarities are divided by a temperature of 20, so that all logits of a row are the same to within a tenth and the loss stays at log(batch); the right change: a temperature of 0.1."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Truffles(Dataset):
    """Twelve aroma compounds in unlike amounts, seen by 20 gas sensors and by a 64-point chromatogram."""

    def __init__(self, n, seed):
        lab = torch.Generator().manual_seed(5)
        sensors = torch.randn(12, 20, generator=lab) * 0.6
        centres = torch.linspace(4, 60, 12)
        peaks = torch.exp(-0.5 * ((torch.arange(64.0)[None] - centres[:, None]) / 1.8) ** 2)
        g = torch.Generator().manual_seed(seed)
        amounts = torch.exp(0.7 * torch.randn(n, 12, generator=g))
        response = torch.tanh(amounts.log() @ sensors)
        self.nose = response + 0.25 * torch.randn(n, 20, generator=g)
        trace = amounts @ peaks * torch.exp(0.1 * torch.randn(n, 1, generator=g))
        self.chromatogram = torch.log1p(trace) + 0.2 * torch.randn(n, 64, generator=g)

    def __len__(self):
        return len(self.nose)

    def __getitem__(self, i):
        return {"nose": self.nose[i], "chromatogram": self.chromatogram[i]}


def tower(n_in, n_out=24):
    return nn.Sequential(nn.Linear(n_in, 96), nn.GELU(), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, n_out))


class TwoTowers(nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.nose, self.chromatogram = tower(20), tower(64)
        self.temperature = temperature

    def forward(self, batch):
        a = F.normalize(self.nose(batch["nose"]), dim=-1)
        b = F.normalize(self.chromatogram(batch["chromatogram"]), dim=-1)
        return a @ b.t() / self.temperature


def info_nce(model, batch):
    logits = model(batch)
    target = torch.arange(len(logits))
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target))


def parts(variant):
    torch.manual_seed(1)
    model = TwoTowers(temperature=20.0 if variant == "bad" else 0.1)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
            "training_step": info_nce,
            "train_loader": DataLoader(Truffles(3000, 1), batch_size=200, shuffle=True, drop_last=True),
            "val_loader": DataLoader(Truffles(600, 2), batch_size=600)}


def matched(model, loader):
    model.eval()
    with torch.no_grad():
        hits = [(model(b).argmax(1) == torch.arange(len(b["nose"]))).float() for b in loader]
    model.train()
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(15):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, matched {matched(p['model'], p['val_loader']):.3f}")
    print("score:", matched(p["model"], p["val_loader"]))
