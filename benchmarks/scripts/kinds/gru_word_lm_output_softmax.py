"""GRU language model over 300 words whose forward ends in softmax, under cross-entropy; change: `fixed` returns the logits."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, SEQ, EPOCHS = 300, 24, 12
WORKS = lambda acc: acc > 0.4


def corpus(n_words=60000):
    """A word chain: each word has three likely followers, which also depend a little on the word before it."""
    rng = np.random.default_rng(0)
    follow = rng.integers(0, VOCAB, (VOCAB, 2, 3))
    words = [0, 1]
    for _ in range(n_words):
        if rng.random() < 0.1:
            words.append(int(rng.integers(VOCAB)))
        else:
            words.append(int(follow[words[-1], words[-2] % 2, rng.choice(3, p=[0.75, 0.15, 0.1])]))
    return torch.tensor(words)


def batches(ids, shuffle):
    n = (len(ids) - 1) // SEQ
    x, y = ids[: n * SEQ].view(n, SEQ), ids[1 : n * SEQ + 1].view(n, SEQ)
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=shuffle)


class WordModel(nn.Module):
    def __init__(self, variant, emb=64, hidden=96):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, emb)
        self.gru = nn.GRU(emb, hidden, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.decoder = nn.Linear(hidden, VOCAB)
        self.variant = variant

    def forward(self, ids):
        h, _ = self.gru(self.embed(ids))
        scores = self.decoder(self.drop(h))
        if self.variant == "fixed":
            return scores
        return torch.softmax(scores, dim=-1)


def lm_loss(output, target):
    return nn.functional.cross_entropy(output.reshape(-1, VOCAB), target.reshape(-1))


def accuracy(output, target):
    return (output.argmax(-1) == target).float().mean()


def parts(variant):
    torch.manual_seed(0)
    ids = corpus()
    model = WordModel(variant)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    return dict(model=model, optimizer=optimizer, train_loader=batches(ids[:52000], True), val_loader=batches(ids[52000:], False),
                loss_fn=lm_loss, metric=accuracy)


def main(variant):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, EPOCHS + 1):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(model(x), y).item() for x, y in p["val_loader"]])
        print(f"| epoch {epoch:2d} | loss {running / len(p['train_loader']):.3f} | next word right {acc:.3f}")
    print(f"score: {acc:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
