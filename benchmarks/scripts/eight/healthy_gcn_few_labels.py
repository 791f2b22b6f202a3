"""No mistake: full-batch GCN for node classification, 8 labelled nodes a class of 600 and strong weight decay, one 'batch' an epoch; change: nothing."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F

WORKS = lambda score: score > 0.85      # accuracy on the unlabelled test nodes


def citation_graph(n=600, k=4, d=60, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    same = y[:, None] == y[None]
    prob = torch.where(same, 0.035, 0.004)
    upper = (torch.rand(n, n, generator=g) < prob).triu(1)
    adj = (upper | upper.T).float()
    centers = torch.randn(k, d, generator=g)
    x = (0.35 * centers[y] + torch.randn(n, d, generator=g) > 0.8).float()
    perm = torch.randperm(n, generator=g)
    train = torch.zeros(n, dtype=torch.bool)
    for c in range(k):
        train[perm[y[perm] == c][:8]] = True
    test = torch.zeros(n, dtype=torch.bool)
    test[perm[~train[perm]][-300:]] = True
    a = adj + torch.eye(n)
    dinv = a.sum(1).rsqrt()
    return x / x.sum(1, keepdim=True).clamp(min=1), dinv[:, None] * a * dinv, y, train, test


class GCN(nn.Module):
    def __init__(self, d, h, k):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(d, h, bias=False), nn.Linear(h, k, bias=False)

    def forward(self, x, a):
        x = F.dropout(x, 0.5, self.training)
        x = F.relu(a @ self.lin1(x))
        x = F.dropout(x, 0.5, self.training)
        return a @ self.lin2(x)


def training_step(model, batch):
    x, a, y, mask = batch
    return F.cross_entropy(model(x, a)[mask], y[mask])


def parts(variant):
    torch.manual_seed(0)
    x, a, y, train, test = citation_graph()
    model = GCN(x.shape[1], 32, 4)
    opt = torch.optim.Adam([dict(params=model.lin1.parameters(), weight_decay=5e-4),
                            dict(params=model.lin2.parameters(), weight_decay=0)], lr=0.01)
    return {"model": model, "optimizer": opt, "train_loader": [(x, a, y, train)],
            "val_loader": [(x, a, y, test)], "training_step": training_step}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    (x, a, y, train), (_, _, _, test) = p["train_loader"][0], p["val_loader"][0]
    for epoch in range(1, 401):
        model.train()
        optimizer.zero_grad()
        loss = training_step(model, (x, a, y, train))
        loss.backward()
        optimizer.step()
        if epoch % 50 == 0:
            model.eval()
            with torch.no_grad():
                acc = (model(x, a).argmax(1) == y)[test].float().mean().item()
            print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Test: {acc:.4f}")
    print(f"score: {acc:.4f}")
