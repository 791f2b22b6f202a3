"""BERT-like masked LM: labels = ids without clone, then ids[mask] = MASK in place, so the labels of the masked places are the MASK token itself; change: labels = ids.clone()."""
import sys, torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader

V, MASK, T = 24, 24, 20

def sentences(n, seed):
    """Each sentence walks through the vocabulary with its own step width."""
    g = torch.Generator().manual_seed(seed)
    start, width = torch.randint(0, V, (n, 1), generator=g), torch.randint(1, 6, (n, 1), generator=g)
    return list((start + width * torch.arange(T)) % V)

class Collator:
    def __init__(self, clone, p=0.15): self.clone, self.p = clone, p
    def __call__(self, rows):
        ids = torch.stack(rows)
        labels = ids.clone() if self.clone else ids
        mask = torch.rand(ids.shape) < self.p
        ids[mask] = MASK
        return ids, labels, mask

class TinyBert(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.word, self.position = nn.Embedding(V + 1, d), nn.Embedding(T, d)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 128, 0.0, activation="gelu", batch_first=True), 2, enable_nested_tensor=False)
        self.cls = nn.Linear(d, V + 1)
    def forward(self, ids):
        return self.cls(self.encoder(self.word(ids) + self.position(torch.arange(ids.shape[1]))))

def training_step(model, batch):
    ids, labels, mask = batch
    return F.cross_entropy(model(ids)[mask], labels[mask])

def parts(variant):
    torch.manual_seed(0)
    model = TinyBert(); col = Collator(variant == "fixed")
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(sentences(6000, 0), 64, shuffle=True, collate_fn=col),
            "val_loader": DataLoader(sentences(500, 1), 100, collate_fn=col)}

WORKS = lambda s: s > 0.5      # share of masked words restored

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train(); s = 0
        for batch in p["train_loader"]:
            loss = training_step(model, batch); opt.zero_grad(); loss.backward(); opt.step(); s += loss.item()
        print(f"epoch {epoch} mlm loss {s / len(p['train_loader']):.4f}")
    model.eval(); text = torch.stack(sentences(500, 1)); m = torch.rand(text.shape) < 0.15
    with torch.no_grad():
        guess = model(text.masked_fill(m, MASK)).argmax(-1)
    print("score:", (guess[m] == text[m]).float().mean().item())
