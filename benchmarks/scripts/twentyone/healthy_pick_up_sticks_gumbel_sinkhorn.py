"""Learning to put shuffled numbers in order by latent permutations: a network scores each place, Sinkhorn iterations with Gumbel noise give a doubly stochastic matrix; hard assignment by argmax in evaluation."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

K = 8


def sticks(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, K, generator=g)
    return x, x.sort(1).values


class Sorter(nn.Module):
    def __init__(self, temperature=0.5, rounds=15):
        super().__init__()
        self.context = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 32))
        self.score = nn.Sequential(nn.Linear(33, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, K))
        self.temperature, self.rounds = temperature, rounds

    def log_scores(self, x):
        x = x.unsqueeze(-1)
        whole = self.context(x).mean(1, keepdim=True).expand(-1, K, -1)
        return self.score(torch.cat([x, whole], -1))

    def forward(self, x):
        s = self.log_scores(x)
        if self.training:
            u = torch.rand_like(s).clamp(1e-6, 1 - 1e-6)
            s = s - 0.5 * torch.log(-torch.log(u))
        s = s / self.temperature
        for _ in range(self.rounds):
            s = s - s.logsumexp(2, keepdim=True)
            s = s - s.logsumexp(1, keepdim=True)
        return s.exp()


def reconstruction(model, batch):
    x, ordered = batch
    p = model(x)
    # column j of p says which stick stands at place j
    return (torch.einsum("nij,ni->nj", p, x) - ordered).pow(2).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Sorter()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "training_step": reconstruction,
        "train_loader": DataLoader(TensorDataset(*sticks(6000, 1)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*sticks(1000, 2)), batch_size=1000),
    }


# share of places that get the right stick; chance is 0.125
WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            x, ordered = next(iter(p["val_loader"]))
            chosen = model(x).argmax(1)
            score = (x.gather(1, chosen) == ordered).float().mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} places right {score:.4f}")
    print(f"score: {score:.4f}")
