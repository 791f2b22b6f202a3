"""Similarity of two recipes (token bags in order) by a shared GRU encoder and the cosine of the two codes, AdamW. The dataset returns the score as a list of one number, so targets come as (B, 1) against cosines (B,), and the hand-written squared error compares every pair with every score; change: the score is returned as a plain number."""
import sys
import random
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

VOCAB, LENGTH, STYLES = 60, 12, 6


class RecipePairs(Dataset):
    def __init__(self, n, seed, as_list):
        rng = random.Random(seed)
        self.rows, self.as_list = [], as_list
        for _ in range(n):
            a, b = rng.randrange(STYLES), rng.randrange(STYLES)
            if rng.random() < 0.35:
                b = a
            gap = min(abs(a - b), STYLES - abs(a - b))
            self.rows.append((self.recipe(rng, a), self.recipe(rng, b), 1.0 - gap / 3.0))

    @staticmethod
    def recipe(rng, style):
        return [rng.randrange(style * 10, style * 10 + 10) if rng.random() < 0.7 else rng.randrange(VOCAB) for _ in range(LENGTH)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        a, b, score = self.rows[i]
        label = torch.tensor([score]) if self.as_list else torch.tensor(score)
        return torch.tensor([a, b]), label


class Encoder(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, 16)

    def forward(self, tokens):
        h, _ = self.gru(self.embed(tokens))
        return self.out(h.mean(1))


class SimilarityNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()

    def forward(self, pairs):
        u, v = self.encoder(pairs[:, 0]), self.encoder(pairs[:, 1])
        return F.cosine_similarity(u, v, dim=-1)


def squared_error(pred, target):
    return ((pred - target) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    as_list = variant == "bad"
    model = SimilarityNet()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2),
        "loss_fn": squared_error,
        "train_loader": DataLoader(RecipePairs(3000, 1, as_list), batch_size=50, shuffle=True),
        "val_loader": DataLoader(RecipePairs(600, 2, as_list), batch_size=100),
    }


@torch.no_grad()
def correlation(model, loader):
    model.eval()
    p = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y.flatten() for _, y in loader])
    # share of the scores' variance that the cosine explains as it is
    return (1 - ((p - y) ** 2).mean() / y.var()).item()


WORKS = lambda score: score > 0.5


def main(variant):
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        running = []
        for pairs, score in p["train_loader"]:
            loss = p["loss_fn"](model(pairs), score)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            running.append(loss.item())
        print(f"epoch {epoch}: train {sum(running) / len(running):.4f}")
    print(f"score: {correlation(model, p['val_loader']):.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
