"""Transformer encoder that writes a sequence backwards, token by token; bad: the sum with the positions is computed and then the bare embedding goes into the encoder; change: the sum goes in."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS, LENGTH = 10, 8


def sequences(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, SYMBOLS, (n, LENGTH), generator=g)
    return TensorDataset(x, x.flip(1))


class Reverser(nn.Module):
    def __init__(self, d_model=48, heads=4, use="sum"):
        super().__init__()
        self.token = nn.Embedding(SYMBOLS, d_model)
        self.position = nn.Parameter(torch.randn(1, LENGTH, d_model) * 0.5)
        layer = nn.TransformerEncoderLayer(d_model, heads, dim_feedforward=96, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.out = nn.Linear(d_model, SYMBOLS)
        self.use = use

    def forward(self, tokens):
        emb = self.token(tokens)
        src = emb + self.position[:, :tokens.shape[1]]
        memory = self.encoder(src if self.use == "sum" else emb)
        return self.out(memory)


def token_loss(logits, target):
    return nn.functional.cross_entropy(logits.reshape(-1, SYMBOLS), target.reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    model = Reverser(use="tokens" if variant == "bad" else "sum")
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98)),
            "loss_fn": token_loss,
            "train_loader": DataLoader(sequences(3200, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(sequences(400, 2), batch_size=200)}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        total, count = 0.0, 0
        for src, tgt in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(src), tgt)
            loss.backward()
            opt.step()
            total, count = total + loss.item(), count + 1
        model.eval()
        with torch.no_grad():
            right = sum((model(src).argmax(-1) == tgt).sum().item() for src, tgt in p["val_loader"])
        acc = right / (400 * LENGTH)
        print(f"epoch {epoch:2d} | loss {total / count:.4f} | token accuracy {acc:.3f}")
    score = acc
    print(f"score: {score:.4f}")
