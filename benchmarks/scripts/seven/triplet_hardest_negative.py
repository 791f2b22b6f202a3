"""Batch-hard triplet embedding of noisy signals; the hardest negative is the minimum of distances multiplied by a mask, which is always the zero of the masked-out entries, so the embedding collapses; change: `fixed` pushes the masked entries up to infinity."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F

CLASSES, PER_CLASS, MARGIN = 12, 6, 0.3
WORKS = lambda score: score > 0.75         # recall at 1 on held-out items


def make_items(n, seed):
    """The class sits in eight coordinates beside 40 loud nuisance ones, all mixed by a rotation."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    proto = torch.randn(CLASSES, 8, generator=torch.Generator().manual_seed(5)) * 1.5
    x = torch.cat([proto[y] + 0.4 * torch.randn(n, 8, generator=g), 2.5 * torch.randn(n, 40, generator=g)], 1)
    mix = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(6)))[0]
    return x @ mix, y


class PKSampler(torch.utils.data.Sampler):
    def __init__(self, labels, n_batches):
        self.by_class = [torch.where(labels == c)[0] for c in range(CLASSES)]
        self.n = n_batches

    def __iter__(self):
        for _ in range(self.n):
            yield torch.cat([ix[torch.randperm(len(ix))[:PER_CLASS]] for ix in self.by_class]).tolist()

    def __len__(self):
        return self.n


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(48, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 16))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


def batch_hard_loss(emb, labels, variant):
    dist = (2 - 2 * emb @ emb.t()).clamp(min=1e-6).sqrt()
    same = labels[:, None] == labels[None]
    eye = torch.eye(len(labels), dtype=torch.bool)
    hardest_pos = (dist * (same & ~eye)).max(dim=1).values
    if variant == "bad":
        hardest_neg = (dist * ~same).min(dim=1).values
    else:
        hardest_neg = dist.masked_fill(same, float("inf")).min(dim=1).values
    return F.relu(hardest_pos - hardest_neg + MARGIN).mean()


def parts(variant):
    torch.manual_seed(0)
    x, y = make_items(2400, 1)
    xv, yv = make_items(600, 2)
    train_loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_sampler=PKSampler(y, 100))
    val_loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(xv, yv), batch_size=300)
    model = EmbeddingNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return dict(model=model, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader,
                loss_fn=lambda out, target: batch_hard_loss(out, target, variant))


@torch.no_grad()
def recall_at_1(model, loader):
    model.eval()
    e = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([t for _, t in loader])
    sim = e @ e.t()
    sim.fill_diagonal_(-9)
    model.train()
    return (y[sim.argmax(1)] == y).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    parser.add_argument("--epochs", type=int, default=25)
    args = parser.parse_args()
    p = parts(args.variant)
    for epoch in range(args.epochs):
        mean = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            mean += loss.item() / len(p["train_loader"])
        if (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1}  triplet loss {mean:.4f}  R@1 {recall_at_1(p['model'], p['val_loader']):.3f}")
    print("score:", round(recall_at_1(p["model"], p["val_loader"]), 4))
