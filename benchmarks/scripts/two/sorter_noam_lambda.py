"""Transformer that sorts short lists, with the "Attention is all you need" schedule: LambdaLR returns the learning rate itself, but it is a factor, so the rate is multiplied by lr=1e-3 once more; change: base lr=1.0."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

D_MODEL, WARMUP, V, L = 64, 300, 20, 8

def noam(step):
    step = max(step, 1)
    return 0.4 * D_MODEL ** -0.5 * min(step ** -0.5, step * WARMUP ** -1.5)

class Sorter(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D_MODEL), nn.Embedding(L, D_MODEL)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D_MODEL, 4, 128, 0.0, batch_first=True), 2, enable_nested_tensor=False)
        self.proj = nn.Linear(D_MODEL, V)
    def forward(self, x):
        return self.proj(self.encoder(self.tok(x) + self.pos.weight)).transpose(1, 2)

def lists(n, seed):
    x = torch.randint(0, V, (n, L), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x.sort(1).values)

def parts(variant):
    torch.manual_seed(0)
    model = Sorter()
    opt = torch.optim.Adam(model.parameters(), lr=1.0 if variant == "fixed" else 1e-3, betas=(0.9, 0.98), eps=1e-9)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, noam)
    return dict(model=model, optimizer=opt, scheduler=sched, loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(lists(8000, 0), 64, shuffle=True), val_loader=DataLoader(lists(500, 1), 250))

WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt, sched = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(6):
        model.train(); tot = 0
        for src, tgt in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(src), tgt)
            loss.backward()
            opt.step(); sched.step()
            tot += loss.item()
        print(f"epoch {epoch} loss {tot / len(p['train_loader']):.4f} lr {sched.get_last_lr()[0]:.2e}")
    model.eval()
    with torch.no_grad():
        acc = sum((model(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]) / len(p["val_loader"])
    print(f"score: {acc:.3f}")
