"""Word model with a GRU and nn.AdaptiveLogSoftmaxWithLoss; mistake: that criterion holds the output layer, but the optimizer gets model.parameters() only, so the output layer stays as drawn; change: criterion.parameters() go into the optimizer too."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, TIME = 600, 16


def corpus(n, seed):
    """Sentences of a small grammar: each word is followed by one of three, the first of them mostly."""
    follow = torch.randint(0, WORDS, (WORDS, 3), generator=torch.Generator().manual_seed(3))
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(n, generator=g)
    s = torch.empty(n, TIME + 1, dtype=torch.long)
    s[:, 0] = (WORDS * u ** 2).long()
    for t in range(TIME):
        choice = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), n, replacement=True, generator=g)
        s[:, t + 1] = follow[s[:, t], choice]
    return s[:, :-1], s[:, 1:]


def by_frequency(train, val):
    """Adaptive softmax wants the frequent words first."""
    counts = torch.bincount(train[1].flatten(), minlength=WORDS)
    rank = torch.empty(WORDS, dtype=torch.long)
    rank[counts.argsort(descending=True)] = torch.arange(WORDS)
    return [rank[t] for t in train], [rank[t] for t in val]


class WordModel(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x):
        h, _ = self.gru(self.embedding(x))
        return h


def parts(variant):
    torch.manual_seed(0)
    train, val = by_frequency(corpus(2500, 1), corpus(300, 2))
    model = WordModel()
    criterion = nn.AdaptiveLogSoftmaxWithLoss(64, WORDS, cutoffs=[60, 200], div_value=4.0)
    params = list(model.parameters())
    if variant != "bad":
        params += list(criterion.parameters())

    def training_step(model, batch):
        x, y = batch
        return criterion(model(x).flatten(0, 1), y.flatten()).loss

    return {
        "model": model,
        "optimizer": torch.optim.Adam(params, lr=4e-3),
        "training_step": training_step,
        "train_loader": DataLoader(TensorDataset(*train), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*val), batch_size=100),
        "criterion": criterion,
    }


@torch.no_grad()
def next_word_accuracy(model, criterion, loader):
    model.eval()
    hits = [criterion.predict(model(x).flatten(0, 1)) == y.flatten() for x, y in loader]
    return torch.cat(hits).float().mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["criterion"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        accuracy = next_word_accuracy(model, criterion, p["val_loader"])
        print(f"epoch {epoch + 1}: nll {total / len(p['train_loader']):.3f}, next word right {accuracy:.3f}")
    print(f"score: {next_word_accuracy(model, criterion, p['val_loader']):.4f}")
