"""Growth of yeast strains in five media from a panel of 300 markers of which eight matter (multi-task group lasso). Odd, but right: after every plain SGD step the columns of the weight matrix are shrunk in place by the proximal step of the penalty, under no_grad and outside of the loss, so that nearly all columns become and stay exactly zero; the whole panel is one batch. Score: held-out R2."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
MARKERS, MEDIA, STRAINS, CAUSAL = 300, 5, 500, [5, 40, 77, 130, 188, 201, 260, 291]


def phenotypes(n, effects):
    """Markers come in linked blocks, as they lie on the same chromosome."""
    latent = torch.randn(n, MARKERS)
    latent[:, 1:] = 0.5 * latent[:, :-1] + 0.85 * latent[:, 1:]
    genes = (latent > 0).float()
    growth = genes[:, CAUSAL] @ effects
    return genes, growth + 0.7 * torch.randn(n, MEDIA)


class GroupLasso(nn.Module):
    def __init__(self, penalty):
        super().__init__()
        self.linear = nn.Linear(MARKERS, MEDIA)
        self.penalty = penalty
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, genes):
        return self.linear(genes)

    @torch.no_grad()
    def shrink(self, rate):
        """Proximal map of rate * penalty * sum of the column norms."""
        w = self.linear.weight
        norm = w.norm(dim=0, keepdim=True).clamp(min=1e-12)
        w.mul_((1 - rate * self.penalty / norm).clamp(min=0))

    def kept(self):
        return (self.linear.weight.abs().sum(0) > 0).nonzero().flatten().tolist()


def proximal_step(model, batch, optimizer):
    genes, growth = batch
    loss = 0.5 * (model(genes) - growth).pow(2).sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.shrink(optimizer.param_groups[0]["lr"])
    return loss.detach()


def r2(pred, y):
    return 1 - ((pred - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(29)
    effects = torch.randn(len(CAUSAL), MEDIA) * 0.6 + torch.tensor([1.2, -1.0, 1.1, -1.3, 0.9, 1.0, -1.1, 1.2])[:, None]
    genes, growth = phenotypes(STRAINS + 400, effects)
    genes = (genes - genes[:STRAINS].mean(0)) / genes[:STRAINS].std(0)
    growth = (growth - growth[:STRAINS].mean(0)) / growth[:STRAINS].std(0)
    model = GroupLasso(penalty=0.12)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.15), "step": proximal_step, "metric": r2,
            "train_loader": DataLoader(TensorDataset(genes[:STRAINS], growth[:STRAINS]), batch_size=STRAINS),
            "val_loader": DataLoader(TensorDataset(genes[STRAINS:], growth[STRAINS:]), batch_size=400)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(150):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 30 == 29:
            with torch.no_grad():
                genes, growth = next(iter(p["val_loader"]))
                score = p["metric"](p["model"](genes), growth)
            print(f"epoch {epoch}: loss {loss.item():.3f} R2 {score:.3f} markers kept {len(p['model'].kept())}")
    print("kept:", p["model"].kept()[:20], "causal:", CAUSAL)
    print("score:", score)
