"""Sound: mixture of eight experts with hard routing by the machine a measurement is from; small batches, so in most steps several experts are not called and get no gradient at all, some machines are rare, and each expert learns its own machine (AdamW)."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

MACHINES, INPUTS = 8, 6


def measurements(n, seed):
    own = torch.Generator().manual_seed(50)
    w1 = torch.randn(MACHINES, INPUTS, 2, generator=own)
    g = torch.Generator().manual_seed(seed)
    share = 1.0 / (1 + torch.arange(MACHINES).float())
    machine = torch.multinomial(share, n, replacement=True, generator=g)
    x = torch.randn(n, INPUTS, generator=g)
    a, b = torch.einsum("ni,nik->nk", x, w1[machine]).unbind(1)
    y = torch.tanh(a) + 0.4 * b + 0.05 * torch.randn(n, generator=g)
    return torch.cat([machine[:, None].float(), x], 1), y


class Experts(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.experts = nn.ModuleList([
            nn.Sequential(nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
            for _ in range(MACHINES)
        ])

    def forward(self, row):
        machine, x = row[:, 0].long(), row[:, 1:]
        out = x.new_zeros(len(x))
        for k in machine.unique().tolist():
            rows = (machine == k).nonzero(as_tuple=True)[0]
            out = out.index_copy(0, rows, self.experts[k](x[rows]).squeeze(-1))
        return out


def parts(variant):
    torch.manual_seed(0)
    model = Experts()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*measurements(4000, 1)), batch_size=16, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*measurements(1000, 2)), batch_size=250),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return 1 - ((out - y) ** 2).sum().item() / ((y - y.mean()) ** 2).sum().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            optimizer.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
