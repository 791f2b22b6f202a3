"""Language detector over character windows, streamed from one shard per language; bad: the shards are read one after another, so a batch is of one language and the net ends on the last one; change: the records of the shards are mixed."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

LANGUAGES, LETTERS, WINDOW = 6, 27, 32


def transition_tables():
    rng = np.random.default_rng(9)
    shared = rng.dirichlet(np.full(LETTERS, 0.5), LETTERS)
    return [0.2 * shared + 0.8 * rng.dirichlet(np.full(LETTERS, 0.2), LETTERS) for _ in range(LANGUAGES)]


def write_text(table, n, rng):
    cumulative = table.cumsum(1)
    text = np.zeros((n, WINDOW), dtype=np.int64)
    text[:, 0] = rng.integers(0, LETTERS, n)
    for t in range(1, WINDOW):
        text[:, t] = np.minimum((cumulative[text[:, t - 1]] < rng.random((n, 1))).sum(1), LETTERS - 1)
    return torch.from_numpy(text)


class ShardStream(IterableDataset):
    def __init__(self, shards, mix):
        self.shards = shards
        self.mix = mix

    def __len__(self):
        return sum(len(s) for s in self.shards)

    def __iter__(self):
        index = [(k, i) for k, shard in enumerate(self.shards) for i in torch.randperm(len(shard)).tolist()]
        if self.mix:
            index = [index[j] for j in torch.randperm(len(index)).tolist()]
        for k, i in index:
            yield self.shards[k][i], k


class CharCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(LETTERS, 16)
        self.conv = nn.Conv1d(16, 64, 3)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(64, LANGUAGES)

    def forward(self, text):
        h = torch.relu(self.conv(self.embed(text).transpose(1, 2)))
        return self.fc(self.drop(h.mean(2)))


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(10)
    tables = transition_tables()
    shards = [write_text(table, 400, rng) for table in tables]
    held_out = [write_text(table, 80, rng) for table in tables]
    val = TensorDataset(torch.cat(held_out), torch.arange(LANGUAGES).repeat_interleave(80))
    model = CharCNN()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(ShardStream(shards, mix=variant != "bad"), batch_size=32),
            "val_loader": DataLoader(val, batch_size=160)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        losses = []
        for text, language in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(text), language)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            hits = sum((model(text).argmax(1) == language).sum().item() for text, language in p["val_loader"])
        print(f"epoch {epoch}: train loss {np.mean(losses):.4f}, held-out accuracy {hits / (80 * LANGUAGES):.3f}")
    score = hits / (80 * LANGUAGES)
    print(f"score: {score:.4f}")
