"""Sound: triplet network on digits, normalised embeddings, TripletMarginLoss with random triplets, scored by the nearest neighbour in the training set."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class Triplets(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        self.by_class = [torch.where(labels == c)[0] for c in range(10)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        c = int(self.labels[i])
        other = (c + int(torch.randint(1, 10, (1,)))) % 10
        j = self.by_class[c][torch.randint(len(self.by_class[c]), (1,))[0]]
        k = self.by_class[other][torch.randint(len(self.by_class[other]), (1,))[0]]
        return self.images[i], self.images[j], self.images[k]


class Embedder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2))
        self.fc = nn.Linear(128, dim)

    def forward(self, x):
        return F.normalize(self.fc(self.conv(x).flatten(1)), dim=1)


triplet_loss = nn.TripletMarginLoss(margin=0.3)


def training_step(model, batch):
    anchor, positive, negative = batch
    return triplet_loss(model(anchor), model(positive), model(negative))


def tensors():
    d = load_digits()
    x = torch.tensor(d.images[:, None], dtype=torch.float32) / 16
    return x, torch.tensor(d.target)


def parts(variant):
    torch.manual_seed(0)
    x, y = tensors()
    model = Embedder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(Triplets(x[:1400], y[:1400]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Triplets(x[1400:], y[1400:]), batch_size=64)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = sum(p["training_step"](model, b).item() for b in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: triplet loss {total / len(p['train_loader']):.4f}, val {val:.4f}")
    x, y = tensors()
    with torch.no_grad():
        e = model(x)
    nearest = torch.cdist(e[1400:], e[:1400]).argmin(1)
    score = (y[:1400][nearest] == y[1400:]).float().mean().item()
    print(f"score: {score:.4f}")
