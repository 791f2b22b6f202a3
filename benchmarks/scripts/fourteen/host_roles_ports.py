"""Role of a host (web, mail, database, desktop) from the ports it speaks to, a GRU; bad: the port numbers, divided by 65535, are the GRU's input as amounts. change: an nn.Embedding of the port."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROLES = ["web", "mail", "database", "desktop"]
PORTS = 65536


def flows(n, seed, T=20):
    fixed = torch.Generator().manual_seed(100)
    own = torch.randint(1, PORTS, (len(ROLES), 20), generator=fixed)
    common = torch.randint(1, PORTS, (60,), generator=fixed)
    g = torch.Generator().manual_seed(seed)
    role = torch.randint(0, len(ROLES), (n,), generator=g)
    special = own[role[:, None], torch.randint(0, 20, (n, T), generator=g)]
    usual = common[torch.randint(0, 60, (n, T), generator=g)]
    ports = torch.where(torch.rand(n, T, generator=g) < 0.4, special, usual)
    return TensorDataset(ports, role)


class PortInput(nn.Module):
    def forward(self, ports):
        return (ports.float() / (PORTS - 1)).unsqueeze(-1)


class HostModel(nn.Module):
    def __init__(self, front, n_in, hidden=48):
        super().__init__()
        self.front = front
        self.gru = nn.GRU(n_in, hidden, batch_first=True)
        self.role = nn.Linear(hidden, len(ROLES))

    def forward(self, ports):
        out, _ = self.gru(self.front(ports))
        return self.role(out.mean(1))


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        model = HostModel(PortInput(), 1)
    else:
        model = HostModel(nn.Embedding(PORTS, 8), 8)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(flows(2000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(flows(400, 2), batch_size=200),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for ports, role in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(ports), role)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(q).argmax(1) == r).float() for q, r in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
