"""Siamese net for the sound of penny whistles: do two notes come from the same maker? The pairs are labelled 1 (same) and 0 (different), but CosineEmbeddingLoss wants 1 and -1 and takes no account of a 0, so only the same pairs pull and all embeddings fall together; the right change: labels 1 and -1."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
MAKERS, HARMONICS = 12, 24
PROFILES = np.random.default_rng(1234).normal(0, 1.0, (MAKERS, 3))


def play(maker, rng):
    """level of the harmonics in dB; the maker shapes them, but so do the player's breath and the note"""
    h = np.arange(1, HARMONICS + 1)
    a, b, c = PROFILES[maker]
    level = -1.5 * h + 4 * a * np.cos(h * 0.8) + 4 * b * np.sin(h * 0.8) + 4 * c * np.cos(h * 2.1)
    breath, note = rng.normal(0, 1.0), rng.normal(0, 1.0)
    level = level + 6 * breath * (h / HARMONICS - 0.5) + 6 * note * np.exp(-h / 6) + rng.normal(0, 8)
    return level + rng.normal(0, 1.5, HARMONICS)


class WhistlePairs(Dataset):
    def __init__(self, n, seed, different):
        rng = np.random.default_rng(seed)
        pairs, labels = [], []
        for _ in range(n):
            same = rng.random() < 0.5
            first = rng.integers(MAKERS)
            second = first if same else (first + rng.integers(1, MAKERS)) % MAKERS
            pairs.append((play(first, rng), play(second, rng)))
            labels.append(1.0 if same else different)
        self.pairs = torch.tensor((np.array(pairs) + 18.0) / 10.0, dtype=torch.float32)
        self.labels = torch.tensor(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.pairs[i], self.labels[i]


class WhistleEncoder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(HARMONICS, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, pairs):
        return self.net(pairs[:, 0]), self.net(pairs[:, 1])


class PairLoss(nn.Module):
    def __init__(self, margin=0.3):
        super().__init__()
        self.cosine = nn.CosineEmbeddingLoss(margin=margin)

    def forward(self, embeddings, labels):
        return self.cosine(*embeddings, labels)


def judged_right(similarity, same, threshold=0.6):
    return ((similarity > threshold) == same).float().mean().item()


def parts(variant, seed=0):
    torch.manual_seed(seed)
    different = 0.0 if variant == "bad" else -1.0
    model = WhistleEncoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": PairLoss(),
            "train_loader": DataLoader(WhistlePairs(4000, 0, different), batch_size=64, shuffle=True),
            "val_loader": DataLoader(WhistlePairs(800, 1, different), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    model = p["model"]
    for epoch in range(17):
        model.train()
        mean = 0.0
        for pairs, labels in p["train_loader"]:
            loss = p["loss_fn"](model(pairs), labels)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            mean += loss.item() / len(p["train_loader"])
        model.eval()
        sims, sames = [], []
        with torch.no_grad():
            for pairs, labels in p["val_loader"]:
                sims.append(torch.cosine_similarity(*model(pairs)))
                sames.append(labels > 0.5)
        score = judged_right(torch.cat(sims), torch.cat(sames))
        if epoch % 4 == 0:
            print(f"epoch {epoch}: loss {mean:.5f} mean similarity {torch.cat(sims).mean():.4f} judged right {score:.3f}")
    print("score:", score)
