"""Healthy: graph convolution on papers that cite each other, semi-supervised: one batch with the whole graph, 8 labelled papers a class, dropout 0.5 and
strong weight decay; validation is the same graph with other papers counted. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F

FIELDS, N, WORDS = 5, 600, 200


def citations():
    g = torch.Generator().manual_seed(4)
    y = torch.randint(0, FIELDS, (N,), generator=g)
    same = y[:, None] == y[None]
    adj = (torch.rand(N, N, generator=g) < torch.where(same, 0.05, 0.003)).float().triu(1)
    adj = adj + adj.T + torch.eye(N)
    d = adj.sum(1).rsqrt()
    topic = torch.rand(FIELDS, WORDS, generator=g) < 0.15
    x = (torch.rand(N, WORDS, generator=g) < torch.where(topic[y], 0.08, 0.03)).float()
    x = x / x.sum(1, keepdim=True).clamp(min=1)
    return x, (d[:, None] * adj * d[None]).to_sparse_coo(), y


class GCN(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.w1 = nn.Linear(WORDS, hidden, bias=False)
        self.w2 = nn.Linear(hidden, FIELDS, bias=False)
        self.b1 = nn.Parameter(torch.zeros(hidden))
        self.b2 = nn.Parameter(torch.zeros(FIELDS))
        for w in (self.w1, self.w2):
            nn.init.xavier_uniform_(w.weight)

    def forward(self, x, adj):
        h = F.dropout(x, 0.5, self.training)
        h = F.relu(torch.sparse.mm(adj, self.w1(h)) + self.b1)
        h = F.dropout(h, 0.5, self.training)
        return torch.sparse.mm(adj, self.w2(h)) + self.b2


def training_step(model, batch):
    x, adj, y, mask = batch
    return F.cross_entropy(model(x, adj)[mask], y[mask])


def parts(variant):
    torch.manual_seed(0)
    x, adj, y = citations()
    train, val = torch.zeros(N, dtype=torch.bool), torch.ones(N, dtype=torch.bool)
    for c in range(FIELDS):
        train[(y == c).nonzero()[:8, 0]] = True
    val &= ~train
    model = GCN()
    optimizer = torch.optim.Adam([dict(params=[model.w1.weight, model.b1], weight_decay=5e-3),
                                  dict(params=[model.w2.weight, model.b2], weight_decay=0.0)], lr=0.01)
    return dict(model=model, optimizer=optimizer, training_step=training_step,
                train_loader=[(x, adj, y, train)], val_loader=[(x, adj, y, val)])


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(300):
        model.train()
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
        if epoch % 20 == 0:
            print(f"epoch {epoch}: {loss.item():.4f}")
    model.eval()
    x, adj, y, mask = p["val_loader"][0]
    with torch.no_grad():
        score = (model(x, adj).argmax(1) == y)[mask].float().mean().item()
    print(f"score: {score:.4f}")
