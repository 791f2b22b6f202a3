"""Is the digit that looks like the reference on the left or on the right? Two digits in one image and a reference image; the collate function takes the reference of batch[0] for every example of the batch (copied from a version in which a batch had one query), so it is no information; change: each item's own reference."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


def split(training):
    d = load_digits()
    keep = np.arange(len(d.target)) % 5 != 0
    keep = keep if training else ~keep
    x = torch.tensor(d.images[keep], dtype=torch.float32)
    return (x - 4.88) / 6.02, torch.tensor(d.target[keep])


class Matches(Dataset):
    def __init__(self, n, training, seed):
        images, labels = split(training)
        rng = np.random.default_rng(seed)
        of = [np.flatnonzero(labels.numpy() == k) for k in range(10)]
        self.items = []
        for _ in range(n):
            a, b = rng.permutation(10)[:2]
            side = int(rng.integers(2))
            pair = torch.cat([images[rng.choice(of[a])], images[rng.choice(of[b])]], 1)
            self.items.append({"pair": pair.unsqueeze(0), "reference": images[rng.choice(of[(a, b)[side]])].unsqueeze(0), "side": side})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate_first(batch):
    pairs = torch.stack([item["pair"] for item in batch])
    references = torch.stack([batch[0]["reference"] for item in batch])
    return pairs, references, torch.tensor([item["side"] for item in batch])


def collate_each(batch):
    pairs = torch.stack([item["pair"] for item in batch])
    references = torch.stack([item["reference"] for item in batch])
    return pairs, references, torch.tensor([item["side"] for item in batch])


class Matcher(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 64), nn.ReLU(), nn.Linear(64, 24))

    def forward(self, pair, reference):
        left, right, ref = self.embed(pair[..., :8]), self.embed(pair[..., 8:]), self.embed(reference)
        return torch.stack([(left * ref).sum(1), (right * ref).sum(1)], 1) / 24 ** 0.5


def training_step(model, batch):
    pair, reference, side = batch
    return nn.functional.cross_entropy(model(pair, reference), side)


def parts(variant):
    torch.manual_seed(0)
    model = Matcher()
    collate = collate_first if variant == "bad" else collate_each
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(Matches(3000, True, 1), batch_size=50, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(Matches(500, False, 2), batch_size=100, collate_fn=collate),
        "training_step": training_step,
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(pair, ref).argmax(1) == side for pair, ref, side in loader]).float().mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1} loss {loss.item():.3f} accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
