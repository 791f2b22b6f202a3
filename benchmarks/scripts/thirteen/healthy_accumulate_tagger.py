"""Sound: bidirectional LSTM that tags words inside brackets, tiny batches of 4 with gradients gathered over 8 of them before each step; variant is ignored. change: none."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

VOCAB, LENGTH, PAD = 30, 18, -100
OPEN, CLOSE = 1, 2
ACCUMULATE = 8


def sentences(n, seed):
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(3, VOCAB, (n, LENGTH), generator=g)
    tags = torch.zeros(n, LENGTH, dtype=torch.long)
    lengths = torch.randint(10, LENGTH + 1, (n,), generator=g)
    for k in range(n):
        a, b = sorted(torch.randperm(int(lengths[k]), generator=g)[:2].tolist())
        words[k, a], words[k, b] = OPEN, CLOSE
        tags[k, a + 1:b] = 1
        tags[k, [a, b]] = 2
        words[k, lengths[k]:] = 0
        tags[k, lengths[k]:] = PAD
    return TensorDataset(words, tags)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.tag = nn.Linear(48, 3)

    def forward(self, words):
        return self.tag(self.lstm(self.embed(words))[0])


class AccumulatingStep:
    def __init__(self, every):
        self.every = every
        self.done = 0

    def __call__(self, model, batch, optimizer):
        words, tags = batch
        loss = F.cross_entropy(model(words).transpose(1, 2), tags, ignore_index=PAD)
        (loss / self.every).backward()
        self.done += 1
        if self.done % self.every == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = Tagger()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2),
            "step": AccumulatingStep(ACCUMULATE),
            "train_loader": DataLoader(sentences(1600, 1), batch_size=4, shuffle=True),
            "val_loader": DataLoader(sentences(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(5):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} over {len(losses)} small batches")
    model.eval()
    right = count = 0
    with torch.no_grad():
        for words, tags in p["val_loader"]:
            real = tags != PAD
            right += (model(words).argmax(-1) == tags)[real].sum().item()
            count += real.sum().item()
    score = right / count
    print(f"score: {score:.4f}")
