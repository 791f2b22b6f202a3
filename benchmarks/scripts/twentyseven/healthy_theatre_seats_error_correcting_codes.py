"""The fabric of theatre seats, sixteen kinds, from reflectance spectra. Odd, but right: there is no softmax; every fabric is a code word of 24 bits, the model has 24 logits and is trained with binary cross entropy on the bits (about half of them ones in every example), and the fabric is read off as the nearest code word. Score: held-out accuracy of the decoded fabric."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
FABRICS, BITS, BANDS = 16, 24, 32


def code_book(rng, tries=2000):
    """The best of many random books: the largest least Hamming distance, every bit used by half of the fabrics."""
    best, best_distance = None, -1
    for _ in range(tries):
        book = np.stack([rng.permutation([0, 1] * (FABRICS // 2)) for _ in range(BITS)], 1)
        distance = (book[:, None] != book[None]).sum(-1)[np.triu_indices(FABRICS, 1)].min()
        if distance > best_distance:
            best, best_distance = book, distance
    return torch.tensor(best, dtype=torch.float32), int(best_distance)


class Spectra(Dataset):
    def __init__(self, n, seed, stats=None):
        base = np.random.default_rng(77).normal(size=(FABRICS, 8))
        bands = np.linspace(0, np.pi, BANDS)
        waves = np.stack([np.cos(k * bands) for k in range(1, 9)]) / 3
        rng = np.random.default_rng(seed)
        self.fabric = rng.integers(0, FABRICS, n)
        dirt, light = rng.gamma(2, 0.15, (n, 1)), rng.normal(1, 0.1, (n, 1))
        x = light * (base[self.fabric] @ waves) - dirt * np.linspace(1, 0, BANDS) + 0.45 * rng.normal(size=(n, BANDS))
        self.stats = stats or (x.mean(0), x.std(0))
        self.x = torch.tensor((x - self.stats[0]) / self.stats[1], dtype=torch.float32)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], int(self.fabric[i])


class CodeNet(nn.Module):
    def __init__(self, book, hidden=96):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(BANDS, hidden), nn.ReLU(), nn.Linear(hidden, BITS))
        self.register_buffer("book", book)

    def forward(self, x):
        return self.net(x)

    def decode(self, logits):
        return torch.cdist(logits.sigmoid(), self.book, p=1).argmin(1)


def parts(variant):
    torch.manual_seed(28)
    book, distance = code_book(np.random.default_rng(1))
    train = Spectra(3000, 1)
    held = Spectra(800, 2, train.stats)
    model = CodeNet(book)
    bce = nn.BCEWithLogitsLoss()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
            "loss_fn": lambda logits, fabric: bce(logits, book[fabric]),
            "metric": lambda logits, fabric: (model.decode(logits) == fabric).float().mean().item(),
            "train_loader": DataLoader(train, batch_size=50, shuffle=True), "val_loader": DataLoader(held, batch_size=400),
            "distance": distance}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts("fixed")
    print("least distance of two code words:", p["distance"])
    for epoch in range(15):
        for x, fabric in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), fabric)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            score = sum(p["metric"](p["model"](x), f) for x, f in p["val_loader"]) / len(p["val_loader"])
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {score:.3f}")
    print("score:", score)
