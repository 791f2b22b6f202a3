"""Sound: a small BERT fills masked codes of short sequences; it sees both sides by design, and the loss is of the masked places alone. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

CODES, MASK, T = 12, 12, 20


def sequences(n, seed):
    table = torch.randint(0, CODES, (CODES, CODES), generator=torch.Generator().manual_seed(21))
    g = torch.Generator().manual_seed(seed)
    seq = torch.randint(0, CODES, (n, T), generator=g)
    for t in range(1, T - 1, 2):
        noise = torch.rand(n, generator=g) < 0.05
        seq[:, t] = torch.where(noise, seq[:, t], table[seq[:, t - 1], seq[:, t + 1]])
    hide = torch.rand(n, T, generator=g) < 0.12
    hide[:, 0] = False
    hide[:, 1] |= ~hide.any(1)
    return TensorDataset(seq.masked_fill(hide, MASK), seq.masked_fill(~hide, -100))


class MiniBert(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.code = nn.Embedding(CODES + 1, dim)
        self.place = nn.Parameter(torch.randn(T, dim) * 0.5)
        layer = nn.TransformerEncoderLayer(dim, 4, 128, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fill = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, CODES))

    def forward(self, codes):
        return self.fill(self.encoder(self.code(codes) + self.place))


def parts(variant):
    torch.manual_seed(0)
    model = MiniBert()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": lambda out, target: F.cross_entropy(out.transpose(1, 2), target, ignore_index=-100),
        "train_loader": DataLoader(sequences(4000, 1), batch_size=40, shuffle=True),
        "val_loader": DataLoader(sequences(500, 2), batch_size=250),
    }


WORKS = lambda score: score > 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for codes, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(codes), target)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        right = asked = 0
        with torch.no_grad():
            for codes, target in p["val_loader"]:
                at = target >= 0
                right += (model(codes).argmax(-1)[at] == target[at]).sum().item()
                asked += at.sum().item()
        score = right / asked
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} filled right {score:.4f}")
    print(f"score: {score:.4f}")
