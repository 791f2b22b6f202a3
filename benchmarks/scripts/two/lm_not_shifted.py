"""Character LM (causal transformer) on a few thousand lines of prose: targets are the same chunk as the inputs, not moved by one character, so it learns to copy; change: y = text[i+1 : i+1+T]."""
import sys
import torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine, load_digits

text = "\n".join(f().DESCR for f in (load_diabetes, load_breast_cancer, load_wine, load_iris, load_digits))
chars = sorted(set(text)); stoi = {c: i for i, c in enumerate(chars)}
ids = torch.tensor([stoi[c] for c in text])
T = 32

class Chunks(Dataset):
    def __init__(self, data, shift):
        self.data, self.shift = data, shift
    def __len__(self):
        return (len(self.data) - T - 1) // 4
    def __getitem__(self, i):
        i = i * 4
        x = self.data[i:i + T]
        y = self.data[i + self.shift:i + self.shift + T]
        return x, y

class MiniGPT(nn.Module):
    def __init__(self, V, d=64):
        super().__init__()
        self.tok = nn.Embedding(V, d)
        self.pos = nn.Embedding(T, d)
        layer = nn.TransformerEncoderLayer(d, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.ln = nn.LayerNorm(d)
        self.head = nn.Linear(d, V)
    def forward(self, x):
        t = x.shape[1]
        mask = torch.triu(torch.full((t, t), float("-inf")), 1)
        h = self.tok(x) + self.pos(torch.arange(t))
        return self.head(self.ln(self.blocks(h, mask=mask)))

def lm_loss(out, y):
    return F.cross_entropy(out.reshape(-1, out.size(-1)), y.reshape(-1))

def parts(variant):
    torch.manual_seed(1337)
    shift = 1 if variant == "fixed" else 0
    n = int(0.9 * len(ids))
    m = MiniGPT(len(chars))
    return dict(model=m, optimizer=torch.optim.AdamW(m.parameters(), lr=4e-3),
                train_loader=DataLoader(Chunks(ids[:n], shift), 16, shuffle=True),
                val_loader=DataLoader(Chunks(ids[n:], shift), 64), loss_fn=lm_loss)

WORKS = lambda score: score > 0.22      # share of next characters guessed

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    m, opt = p["model"], p["optimizer"]
    for epoch in range(4):
        m.train(); tot = 0
        for xb, yb in p["train_loader"]:
            loss = p["loss_fn"](m(xb), yb)
            opt.zero_grad(set_to_none=True); loss.backward(); opt.step()
            tot += loss.item()
        m.eval()
        with torch.no_grad():
            v = sum(p["loss_fn"](m(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch} train {tot / len(p['train_loader']):.3f} val {v:.3f}")
    # how well does it continue text?
    val = ids[int(0.9 * len(ids)):]
    starts = range(0, len(val) - T - 1, 16)
    x = torch.stack([val[i:i + T] for i in starts]); nxt = torch.stack([val[i + T] for i in starts])
    with torch.no_grad():
        acc = (m(x)[:, -1].argmax(-1) == nxt).float().mean().item()
    print(f"score: {acc:.4f}")
