"""Healthy: masked language model on recipe codes that repeat themselves; 15 % of the positions have a label, the others are -100, of those chosen a tenth
keep their own token and a tenth get a random one, and the encoder reads both ways. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, MASK, T = 24, 24, 20


def recipes(n, seed):
    g = torch.Generator().manual_seed(seed)
    half = torch.randint(0, VOCAB, (n, T // 2), generator=g)
    return TensorDataset(torch.cat([half, (half + 1) % VOCAB], 1))


def hide(batch, generator=None):
    tokens = torch.stack([b[0] for b in batch])
    r = torch.rand(tokens.shape, generator=generator)
    labels = tokens.masked_fill(r >= 0.15, -100)
    how = torch.rand(tokens.shape, generator=generator)
    inputs = tokens.clone()
    inputs[(r < 0.15) & (how < 0.8)] = MASK
    swap = (r < 0.15) & (how >= 0.9)
    inputs[swap] = torch.randint(0, VOCAB, (int(swap.sum()),), generator=generator)
    return inputs, labels


class Encoder(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.tok = nn.Embedding(VOCAB + 1, d)
        self.pos = nn.Parameter(torch.randn(T, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        nn.init.normal_(self.tok.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(VOCAB))

    def forward(self, x):
        h = self.norm(self.layers(self.tok(x) + self.pos))
        return h @ self.tok.weight[:VOCAB].T + self.bias


def loss_fn(output, target):
    return nn.functional.cross_entropy(output.transpose(1, 2), target, ignore_index=-100)


def parts(variant):
    torch.manual_seed(0)
    model = Encoder()
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=0.01), dict(params=rest, weight_decay=0.0)], lr=2e-3)
    fixed = torch.Generator().manual_seed(7)
    val = [hide([(r,) for r in chunk], fixed) for chunk in recipes(400, 2).tensors[0].split(100)]
    return dict(model=model, optimizer=optimizer, loss_fn=loss_fn,
                train_loader=DataLoader(recipes(4000, 1), 64, shuffle=True, collate_fn=hide), val_loader=val)


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f}")
    model.eval()
    right = count = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            asked = y != -100
            right += (model(x).argmax(-1) == y)[asked].sum().item()
            count += asked.sum().item()
    score = right / count
    print(f"score: {score:.4f}")
