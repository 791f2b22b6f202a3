"""Healthy: word-level GRU language model with tied weights, SGD at a rate of 20 and clipping at 0.25 (always clipped), as in the old PyTorch example; nothing to change."""
import sys, torch, torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

V, T = 60, 20
def corpus(n, seed):
    M = torch.distributions.Dirichlet(torch.full((V,), 0.03))
    torch.manual_seed(31); P = M.sample((V,))
    g = torch.Generator().manual_seed(seed); w = torch.randint(0, V, (n,), generator=g); out = [w]
    for _ in range(T):
        w = torch.multinomial(P[w], 1, generator=g).squeeze(1); out.append(w)
    s = torch.stack(out, 1); return TensorDataset(s[:, :-1], s[:, 1:])

class RNNModel(nn.Module):
    def __init__(self, nhid=64):
        super().__init__()
        self.drop = nn.Dropout(0.1); self.encoder = nn.Embedding(V, nhid); self.rnn = nn.GRU(nhid, nhid, batch_first=True)
        self.decoder = nn.Linear(nhid, V); self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1); nn.init.zeros_(self.decoder.bias)
    def forward(self, x): return self.decoder(self.drop(self.rnn(self.drop(self.encoder(x)))[0])).transpose(1, 2)

def step(model, optimizer, batch):
    x, y = batch
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y); loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step(); return loss

def parts(variant="fixed"):
    a, b = corpus(1500, 0), corpus(200, 1)
    torch.manual_seed(1111); m = RNNModel()
    return {"model": m, "optimizer": torch.optim.SGD(m.parameters(), lr=20.0), "step": step,
            "train_loader": DataLoader(a, 20, shuffle=True), "val_loader": DataLoader(b, 100)}

WORKS = lambda score: score > 0.4      # next word guessed

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"); m = p["model"]
    for e in range(8):
        m.train()
        print(e, sum(step(m, p["optimizer"], b).item() for b in p["train_loader"]) / len(p["train_loader"]))
    m.eval()
    with torch.no_grad(): print("score:", torch.cat([(m(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item())
