"""Sentence-pair embeddings with CosineEmbeddingLoss: labels are 1 and 0 but it wants 1 and -1; for 0 it gives no loss, nothing pushes apart and all sentences become one vector; change: y = 2*y - 1."""
import sys, random, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

V, L, GROUPS = 240, 12, 12

def sentence(r, k):                     # a group has its 12 own words, half of a sentence is noise
    return [r.randrange(k * 12, k * 12 + 12) if r.random() < 0.5 else r.randrange(144, V) for _ in range(L)]

def pairs(n, seed):
    r = random.Random(seed); a, b, y = [], [], []
    for _ in range(n):
        k = r.randrange(GROUPS); same = r.random() < 0.5
        a.append(sentence(r, k)); b.append(sentence(r, k if same else r.choice([j for j in range(GROUPS) if j != k]))); y.append(int(same))
    return torch.tensor(a), torch.tensor(b), torch.tensor(y)

class SBert(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.emb = nn.Embedding(V, d)
        self.gru = nn.GRU(d, d, batch_first=True, bidirectional=True)
        self.proj = nn.Linear(2 * d, d)
    def forward(self, ids):
        return self.proj(self.gru(self.emb(ids))[0].mean(1))

def training_step(model, batch):
    a, b, y = batch
    return nn.functional.cosine_embedding_loss(model(a), model(b), y, margin=0.2)

def parts(variant):
    torch.manual_seed(0)
    sets = []
    for n, s in ((3000, 0), (600, 1)):
        a, b, y = pairs(n, s)
        sets.append(TensorDataset(a, b, 2 * y - 1 if variant == "fixed" else y))
    m = SBert()
    return {"model": m, "optimizer": torch.optim.Adam(m.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(sets[0], 32, shuffle=True), "val_loader": DataLoader(sets[1], 100)}

WORKS = lambda score: score > 0.8      # right "same or not" at a cosine of 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for e in range(8):
        s = 0
        for batch in p["train_loader"]:
            loss = training_step(p["model"], batch); p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step(); s += loss.item()
        print("epoch", e + 1, "loss", s / len(p["train_loader"]))
    ok = 0
    with torch.no_grad():
        for a, b, y in p["val_loader"]:
            ok += ((torch.cosine_similarity(p["model"](a), p["model"](b)) > 0.6) == (y == 1)).sum().item()
    print("score:", ok / 600)
