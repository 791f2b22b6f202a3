"""Does a sentence speak of a trip north or south; transformer whose position numbers come from the padding mask, as in RoBERTa; bad: the cumsum over the mask is missing, so each real token has position 1. change: mask.cumsum(1) * mask."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAD, FROM, TO = 0, 1, 2
PORTS = list(range(3, 10))
FILLER = list(range(10, 24))
LENGTH = 12


def sentences(n, seed):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(n, LENGTH, dtype=torch.long)
    label = torch.zeros(n, dtype=torch.long)
    pick = lambda k: int(torch.randint(0, k, (1,), generator=g))
    for i in range(n):
        a, b = torch.randperm(len(PORTS), generator=g)[:2].tolist()
        first, second = [FROM, PORTS[a]], [TO, PORTS[b]]
        if pick(2):
            first, second = second, first
        words = [FILLER[pick(len(FILLER))] for _ in range(3 + pick(5))]
        cut = sorted([pick(len(words) + 1), pick(len(words) + 1)])
        s = words[:cut[0]] + first + words[cut[0]:cut[1]] + second + words[cut[1]:]
        tokens[i, :len(s)] = torch.tensor(s)
        label[i] = int(b > a)
    return TensorDataset(tokens, label)


class RouteClassifier(nn.Module):
    def __init__(self, positions, dim=48):
        super().__init__()
        self.word = nn.Embedding(24, dim, padding_idx=PAD)
        self.place = nn.Embedding(LENGTH + 1, dim, padding_idx=PAD)
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.positions = positions
        self.out = nn.Linear(dim, 2)

    def forward(self, tokens):
        mask = (tokens != PAD).long()
        x = self.word(tokens) + self.place(self.positions(mask))
        x = self.encoder(x, src_key_padding_mask=mask == 0)
        x = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return self.out(x)


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        positions = lambda mask: mask * 1 + PAD
    else:
        positions = lambda mask: mask.cumsum(1) * mask + PAD
    model = RouteClassifier(positions)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(sentences(5000, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(sentences(500, 2), batch_size=250),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(14):
        model.train()
        total = 0.0
        for tokens, label in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(tokens), label)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            good = torch.cat([(model(t).argmax(1) == l).float() for t, l in p["val_loader"]])
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} val acc {good.mean():.3f}")
    score = good.mean().item()
    print(f"score: {score:.4f}")
