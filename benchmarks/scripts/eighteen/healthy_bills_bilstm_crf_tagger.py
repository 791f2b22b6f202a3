"""Sound: a BiLSTM tagger with a conditional random field on top that marks the parts of shop bills; padded, masked, the loss is a sum over the sentence and starts high. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

TAGS = ["O", "B-ITEM", "I-ITEM", "B-SUM", "I-SUM"]
FIRST, SECOND = "dark white fresh smoked mild".split(), "bread cheese milk ham honey tea".split()
NUMBERS, UNITS, OTHER = "two five nine twelve forty".split(), "crowns cents marks".split(), "thank you table for paid at total and with tip dark five".split()
WORDS = {w: i + 1 for i, w in enumerate(sorted(set(FIRST + SECOND + NUMBERS + UNITS + OTHER)))}


def bills(n, seed):
    rng = np.random.default_rng(seed)
    data = []
    for _ in range(n):
        words, tags = [], []
        for _ in range(rng.integers(2, 6)):
            kind = rng.integers(3)
            if kind == 0:
                words += [rng.choice(FIRST), rng.choice(SECOND)]; tags += [1, 2]
            elif kind == 1:
                words += [rng.choice(NUMBERS), rng.choice(UNITS)]; tags += [3, 4]
            else:
                k = int(rng.integers(1, 4))
                words += list(rng.choice(OTHER, k)); tags += [0] * k
        data.append((torch.tensor([WORDS[w] for w in words]), torch.tensor(tags)))
    return data


def collate(items):
    x = pad_sequence([i for i, _ in items], batch_first=True)
    return x, pad_sequence([t for _, t in items], batch_first=True), x != 0


class BiLSTMCRF(nn.Module):
    def __init__(self, emb=24, hidden=24):
        super().__init__()
        self.emb = nn.Embedding(len(WORDS) + 1, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, batch_first=True, bidirectional=True)
        self.emit = nn.Linear(2 * hidden, len(TAGS))
        self.start = nn.Parameter(torch.zeros(len(TAGS)))
        self.trans = nn.Parameter(torch.zeros(len(TAGS), len(TAGS)))

    def forward(self, x):
        return self.emit(self.lstm(self.emb(x))[0])

    def neg_log_likelihood(self, e, y, mask):
        gold = self.start[y[:, 0]] + e[:, 0].gather(1, y[:, :1]).squeeze(1)
        alpha = self.start + e[:, 0]
        for t in range(1, e.shape[1]):
            m = mask[:, t]
            gold = gold + m * (self.trans[y[:, t - 1], y[:, t]] + e[:, t].gather(1, y[:, t:t + 1]).squeeze(1))
            new = torch.logsumexp(alpha.unsqueeze(2) + self.trans, 1) + e[:, t]
            alpha = torch.where(m.unsqueeze(1), new, alpha)
        return (torch.logsumexp(alpha, 1) - gold).mean()

    @torch.no_grad()
    def viterbi(self, e, length):
        score, back = self.start + e[0], []
        for t in range(1, length):
            best = (score.unsqueeze(1) + self.trans).max(0)
            back.append(best.indices)
            score = best.values + e[t]
        path = [int(score.argmax())]
        for b in reversed(back):
            path.insert(0, int(b[path[0]]))
        return torch.tensor(path)


def training_step(model, batch):
    x, y, mask = batch
    return model.neg_log_likelihood(model(x), y, mask)


def parts(variant):
    torch.manual_seed(0)
    model = BiLSTMCRF()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4), "training_step": training_step,
            "train_loader": DataLoader(bills(1200, 1), 16, shuffle=True, collate_fn=collate), "val_loader": DataLoader(bills(200, 2), 50, collate_fn=collate)}


def accuracy(model, loader):
    right = n = 0
    for x, y, mask in loader:
        with torch.no_grad():
            e = model(x)
        for i in range(len(x)):
            k = int(mask[i].sum())
            right += (model.viterbi(e[i], k) == y[i, :k]).sum().item(); n += k
    return right / n


WORKS = lambda score: score > 0.93  # share of words tagged rightly

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        total = 0.0
        for batch in p["train_loader"]:
            p["model"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: nll {total / len(p['train_loader']):.4f}, accuracy {accuracy(p['model'], p['val_loader']):.4f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
