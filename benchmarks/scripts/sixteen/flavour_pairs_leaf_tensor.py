"""Which ingredients go together: a table of learned vectors, the score of a pair is their product; bad: the table is a tensor with requires_grad, not an nn.Parameter, so model.parameters() lacks it and it is never trained; change: nn.Parameter around it."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N_ITEMS, DIM = 120, 12


class PairScorer(nn.Module):
    def __init__(self, n_items, dim, variant):
        super().__init__()
        if variant == "bad":
            self.vectors = (torch.randn(n_items, dim) * 0.1).requires_grad_()
        else:
            self.vectors = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.mix = nn.Linear(dim, dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, pairs):
        a = self.vectors[pairs[:, 0]]
        b = self.vectors[pairs[:, 1]]
        return ((self.mix(a) * b) + (self.mix(b) * a)).sum(1) + self.bias


def make_pairs(n):
    g = torch.Generator().manual_seed(11)
    taste = torch.randn(N_ITEMS, 4, generator=g)
    pairs = torch.randint(0, N_ITEMS, (n, 2), generator=g)
    s = (taste[pairs[:, 0]] * taste[pairs[:, 1]]).sum(1)
    liked = (s + 0.3 * torch.randn(n, generator=g) > 0).float()
    return pairs, liked


def parts(variant):
    torch.manual_seed(0)
    pairs, liked = make_pairs(9000)
    model = PairScorer(N_ITEMS, DIM, variant)
    opt = torch.optim.Adam(model.parameters(), lr=0.01)
    return dict(model=model, optimizer=opt, loss_fn=nn.BCEWithLogitsLoss(),
                train_loader=DataLoader(TensorDataset(pairs[:7500], liked[:7500]), batch_size=100, shuffle=True),
                val_loader=DataLoader(TensorDataset(pairs[7500:], liked[7500:]), batch_size=500))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for ep in range(15):
        model.train()
        losses = []
        for pairs, liked in p["train_loader"]:
            loss = p["loss_fn"](model(pairs), liked)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(x) > 0).float() == y for x, y in p["val_loader"]])
        score = hits.float().mean().item()
        print(f"{ep:3d}  train {sum(losses) / len(losses):.4f}  val acc {score:.3f}")
    print(f"score: {score:.4f}")
