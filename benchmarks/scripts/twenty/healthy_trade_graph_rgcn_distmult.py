"""Relational graph convolution with basis matrices and a DistMult decoder on a made-up trade graph: one batch is the whole graph, each edge corrupted anew in every step, L2 on the relation table; sound. change: nothing."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader

N, R = 80, 4


def trade_graph(seed=3):
    """A firm has a trade and a region; relation r runs from certain trades to certain others, mostly within the region."""
    g = torch.Generator().manual_seed(seed)
    trade, region = torch.randint(0, 5, (N,), generator=g), torch.randint(0, 3, (N,), generator=g)
    s, r, o = torch.meshgrid(torch.arange(N), torch.arange(R), torch.arange(N), indexing="ij")
    fits = (trade[o] == (trade[s] + r + 1) % 5) & (s != o)
    prob = torch.where(fits, torch.where(region[s] == region[o], 0.75, 0.05), 0.002)
    keep = torch.rand(N, R, N, generator=g) < prob
    triples = keep.nonzero()
    return triples[torch.randperm(len(triples), generator=g)], keep


class RGCN(nn.Module):
    def __init__(self, d=32, bases=3):
        super().__init__()
        self.emb = nn.Parameter(torch.randn(N, d) * 0.3)
        self.bases = nn.ParameterList([nn.Parameter(torch.randn(bases, d, d) / d ** 0.5) for _ in range(2)])
        self.coef = nn.ParameterList([nn.Parameter(torch.randn(2 * R, bases) * 0.5) for _ in range(2)])
        self.loop = nn.ModuleList([nn.Linear(d, d) for _ in range(2)])
        self.rel = nn.Parameter(torch.randn(R, d) * 0.5)

    def encode(self, edges):
        s, r, o = edges.t()
        src, typ, dst = torch.cat([s, o]), torch.cat([r, r + R]), torch.cat([o, s])
        count = torch.zeros(N * 2 * R).index_add_(0, dst * 2 * R + typ, torch.ones(len(dst)))
        norm = 1 / count[dst * 2 * R + typ]
        h = self.emb
        for i in range(2):
            w = torch.einsum("rb,bij->rij", self.coef[i], self.bases[i])
            msg = torch.einsum("nd,rde->nre", h, w)[src, typ] * norm[:, None]
            h = self.loop[i](h).index_add(0, dst, msg)
            if i == 0:
                h = F.dropout(F.relu(h), 0.2, self.training)
        return h

    def forward(self, edges, triples):
        h = self.encode(edges)
        return (h[triples[:, 0]] * self.rel[triples[:, 1]] * h[triples[:, 2]]).sum(1)


def corrupt(triples, times=4):
    bad = triples.repeat(times, 1)
    side = torch.rand(len(bad)) < 0.5
    rand = torch.randint(0, N, (len(bad),))
    return torch.stack([torch.where(side, rand, bad[:, 0]), bad[:, 1], torch.where(side, bad[:, 2], rand)], 1)


def training_step(model, edges):
    hide = torch.rand(len(edges)) < 0.3
    pos, seen = edges[hide], edges[~hide]
    neg = corrupt(pos)
    logits = model(seen, torch.cat([pos, neg]))
    labels = torch.cat([torch.ones(len(pos)), torch.zeros(len(neg))])
    return F.binary_cross_entropy_with_logits(logits, labels) + 0.01 * model.rel.pow(2).mean()


def parts(variant):
    torch.manual_seed(0)
    triples, _ = trade_graph()
    cut = int(0.8 * len(triples))
    model = RGCN()
    whole = lambda t: DataLoader(t, batch_size=len(t), collate_fn=torch.stack)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=0.01), training_step=training_step,
                train_loader=whole(triples[:cut]), val_loader=whole(triples[cut:]))


WORKS = lambda score: score > 0.85  # area under the curve, held-out trades against as many random triples that are not trades

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(200):
        model.train()
        for edges in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, edges)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        if epoch % 25 == 0:
            print(f"epoch {epoch} loss {loss.item():.4f}")
    model.eval()
    _, true = trade_graph()
    (known,), (pos,) = p["train_loader"], p["val_loader"]
    neg = corrupt(pos)
    neg = neg[~true[neg[:, 0], neg[:, 1], neg[:, 2]]]
    with torch.no_grad():
        scores = model(known, torch.cat([pos, neg]))
    score = roc_auc_score([1] * len(pos) + [0] * len(neg), scores)
    print(f"score: {score:.4f}")
