"""Sentiment of short reviews, LSTM; the state is read after a hundred pad tokens (out[:, -1] of a post-padded batch); change: the twin reads the state at each review's last word."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, MAXLEN = 200, 110


def make_reviews(n, seed):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(n, MAXLEN, dtype=torch.long)
    lengths = torch.randint(5, 14, (n,), generator=g)
    labels = torch.randint(0, 2, (n,), generator=g)
    for i in range(n):
        k = int(lengths[i])
        words = torch.randint(61, VOCAB, (k,), generator=g)          # neutral words
        mood = torch.rand(k, generator=g) < 0.45
        mood[int(torch.randint(0, k, (1,), generator=g))] = True
        flipped = torch.rand(k, generator=g) < 0.1
        side = torch.where(flipped, 1 - labels[i], labels[i])
        words = torch.where(mood, 1 + side * 30 + torch.randint(0, 30, (k,), generator=g), words)
        tokens[i, :k] = words
    return tokens, lengths, labels


class SentimentLSTM(nn.Module):
    def __init__(self, read_at):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 48, batch_first=True)
        self.fc = nn.Linear(48, 2)
        self.read_at = read_at

    def forward(self, tokens, lengths):
        out, _ = self.lstm(self.embedding(tokens))
        if self.read_at == "end":
            state = out[:, -1]
        else:
            state = out[torch.arange(len(out)), lengths - 1]
        return self.fc(state)


def parts(variant):
    torch.manual_seed(0)
    model = SentimentLSTM("end" if variant == "bad" else "last_word")
    train = TensorDataset(*make_reviews(1600, 1))
    val = TensorDataset(*make_reviews(400, 2))
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "train_loader": DataLoader(train, batch_size=40, shuffle=True),
            "val_loader": DataLoader(val, batch_size=200),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.75


def accuracy(model, loader):
    model.eval()
    hits = total = 0
    with torch.no_grad():
        for tokens, lengths, y in loader:
            hits += (model(tokens, lengths).argmax(1) == y).sum().item()
            total += len(y)
    return hits / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(7):
        model.train()
        running = 0.0
        for tokens, lengths, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(tokens, lengths), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        acc = accuracy(model, p["val_loader"])
        print(f"epoch {epoch}: train loss {running / len(p['train_loader']):.4f}, val acc {acc:.3f}")
    print(f"score: {acc:.4f}")
