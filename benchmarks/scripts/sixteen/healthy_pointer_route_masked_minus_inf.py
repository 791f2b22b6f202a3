"""Pointer network that lists six stops in the order of their distance from the depot: stops already visited get a logit of minus infinity, so the loss of the last place is exactly zero and carries no gradient; teacher forcing; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

STOPS = 6


class PointerNet(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.point = nn.Linear(2, width)
        self.mix = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.0, batch_first=True)
        self.cell = nn.GRUCell(width, width)
        self.go = nn.Parameter(torch.zeros(width))
        self.wq, self.wk, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1, bias=False)

    def forward(self, stops, order=None):
        n = len(stops)
        enc = self.mix(self.point(stops))
        keys = self.wk(enc)
        h, inp = enc.mean(1), self.go.expand(n, -1)
        visited = torch.zeros(n, STOPS, dtype=torch.bool)
        out = []
        for step in range(STOPS):
            h = self.cell(inp, h)
            logit = self.v(torch.tanh(keys + self.wq(h)[:, None]))[:, :, 0]
            logit = logit.masked_fill(visited, float("-inf"))
            out.append(logit)
            pick = order[:, step] if order is not None else logit.argmax(1)
            visited = visited.scatter(1, pick[:, None], True)
            inp = enc[torch.arange(n), pick]
        return torch.stack(out, 1)


def training_step(model, batch):
    stops, order = batch
    logits = model(stops, order)
    return F.cross_entropy(logits.flatten(0, 1), order.flatten())


def tours(n):
    stops = torch.rand(n, STOPS, 2) * 2 - 1
    return stops, stops.norm(dim=2).argsort(1)


def parts(variant):
    torch.manual_seed(0)
    train, val = tours(3000), tours(400)
    model = PointerNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(*train), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=400)}


WORKS = lambda score: score > 0.75       # stops in the right place, decoded greedily

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            stops, order = next(iter(p["val_loader"]))
            score = (model(stops).argmax(2) == order).float().mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} places {score:.3f}")
    print(f"score: {score:.4f}")
