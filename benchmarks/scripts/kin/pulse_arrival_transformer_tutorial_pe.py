"""Transformer encoder (batch_first) that regresses when a pulse arrives; the tutorial's positional encoding is added along the batch, so tokens of one trace all get the same vector; change: along time."""
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T = 40


def traces(n, seed):
    g = torch.Generator().manual_seed(seed)
    at = torch.randint(3, T - 3, (n,), generator=g)
    t = torch.arange(T)[None]
    width = torch.rand(n, 1, generator=g) + 0.8
    x = 2.5 * torch.exp(-((t - at[:, None]) / width) ** 2) + 0.3 * torch.randn(n, T, generator=g)
    return x.unsqueeze(-1), (at.float().unsqueeze(1) - T / 2) / (T / 4)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.0, max_len=5000, batch_first=True):
        super().__init__()
        self.dropout, self.batch_first = nn.Dropout(dropout), batch_first
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        if self.batch_first:
            x = x + self.pe[:x.size(1)].transpose(0, 1)
        else:
            x = x + self.pe[:x.size(0)]
        return self.dropout(x)


class ArrivalNet(nn.Module):
    def __init__(self, pe_batch_first, d=32):
        super().__init__()
        self.inp = nn.Linear(1, d)
        self.pos = PositionalEncoding(d, batch_first=pe_batch_first)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, 1)

    def forward(self, x):
        return self.out(self.encoder(self.pos(self.inp(x))).mean(dim=1))


def parts(variant):
    torch.manual_seed(0)
    train, val = traces(2400, 1), traces(400, 2)
    model = ArrivalNet(pe_batch_first=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(*train), batch_size=48, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*val), batch_size=48),
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score > 0.8


def val_r2(model, loader):
    model.eval()
    se = n = 0
    ys = []
    with torch.no_grad():
        for x, y in loader:
            se += ((model(x) - y) ** 2).sum().item()
            ys.append(y)
    ys = torch.cat(ys)
    return 1 - se / ((ys - ys.mean()) ** 2).sum().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    for epoch in range(8):
        p["model"].train()
        mean = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            mean += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch}: train mse {mean:.4f} | val R2 {val_r2(p['model'], p['val_loader']):.3f}")
    print(f"score: {val_r2(p['model'], p['val_loader']):.4f}")
