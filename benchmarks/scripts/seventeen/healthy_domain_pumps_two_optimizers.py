"""Sound: domain-adversarial diagnosis of pumps at two speeds, the domain judge learns first and the encoder then aims at its maximal confusion (targets of one half); nothing to change."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def pumps(n, fast):
    fault = torch.randint(3, (n,))
    centre = torch.tensor([[1.6, 0.0, -1.0], [-1.2, 1.4, 0.4], [-0.3, -1.5, 0.9]])
    vib = torch.randn(n, 10)
    vib[:, :3] = centre[fault] + 0.5 * vib[:, :3]
    if fast:
        vib[:, :3] += torch.tensor([0.9, 0.7, 0.5])
        vib[:, 3] += 1.0
    return vib, fault


class PumpNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 12))
        self.fault = nn.Linear(12, 3)
        self.speed = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, x):
        return self.fault(self.enc(x))


def parts(variant):
    torch.manual_seed(0)
    slow, y_slow = pumps(2400, False)
    fast, _ = pumps(2400, True)
    net = PumpNet()
    optimizer = {"task": torch.optim.Adam([*net.enc.parameters(), *net.fault.parameters()], lr=5e-4),
                 "speed": torch.optim.Adam(net.speed.parameters(), lr=2e-3)}
    ce, bce = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        xs, ys, xt = batch
        z = model.enc(torch.cat([xs, xt]))
        is_fast = torch.cat([torch.zeros(len(xs), 1), torch.ones(len(xt), 1)])

        optimizer["speed"].zero_grad()
        judge_loss = bce(model.speed(z.detach()), is_fast)
        judge_loss.backward()
        optimizer["speed"].step()

        optimizer["task"].zero_grad()
        loss = ce(model.fault(z[:len(xs)]), ys) + 0.3 * bce(model.speed(z), torch.full_like(is_fast, 0.5))
        loss.backward()
        optimizer["task"].step()
        return loss

    return {"model": net, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(slow, y_slow, fast), batch_size=80, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*pumps(900, True)), batch_size=100)}


# accuracy on fast pumps, mean of the last five epochs
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    accs = []
    for epoch in range(30):
        p["model"].train()
        loss = sum(p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]) / len(p["train_loader"])
        p["model"].eval()
        with torch.no_grad():
            accs.append(torch.cat([p["model"](x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item())
        print(f"epoch {epoch} loss {loss:.3f} fast pumps {accs[-1]:.3f}")
    print(f"score: {sum(accs[-5:]) / 5:.4f}")
