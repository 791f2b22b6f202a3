"""Siamese CNN for silver spoons: one shared branch for both pictures, the absolute difference of the embeddings goes through a linear head with BCEWithLogitsLoss; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class SpoonPairs(Dataset):
    """Pairs are drawn anew on every access."""

    def __init__(self, makers, views, seed):
        g = torch.Generator().manual_seed(seed)
        stamp = F.interpolate(torch.randn(makers, 1, 5, 5, generator=g), size=16, mode="nearest")
        self.x = stamp[:, None] + 0.6 * torch.randn(makers, views, 1, 16, 16, generator=g)

    def __len__(self):
        return 1600

    def __getitem__(self, i):
        makers, views = self.x.shape[:2]
        a, v, w = torch.randint(makers, (1,)).item(), *torch.randperm(views)[:2].tolist()
        same = i % 2 == 0
        b = a if same else (a + torch.randint(1, makers, (1,)).item()) % makers
        return self.x[a, v], self.x[b, w], torch.tensor(float(same))


class SpoonNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                                    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                                    nn.Flatten(), nn.Linear(512, 64), nn.Sigmoid())
        self.head = nn.Linear(64, 1)

    def forward(self, a, b):
        return self.head((self.branch(a) - self.branch(b)).abs()).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = SpoonNet()
    bce = nn.BCEWithLogitsLoss()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "training_step": lambda model, batch: bce(model(batch[0], batch[1]), batch[2]),
            "train_loader": DataLoader(SpoonPairs(200, 6, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(SpoonPairs(60, 6, 2), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} bce {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([((model(a, b) > 0) == (s > 0)).float() for a, b, s in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
