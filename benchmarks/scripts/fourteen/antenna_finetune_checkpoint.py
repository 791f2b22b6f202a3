"""Antenna surrogate, pretrained on simulations and fine-tuned on measurements; bad: the checkpoint is loaded with assign=True after the optimizer was made, so the optimizer holds the tensors of before. change: load first, then make the optimizer."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def response(x, measured):
    length, width, gap, eps = x.unbind(1)
    a = torch.sin(2 * length) * width + 0.5 * gap * eps
    b = torch.cos(2 * width + gap)
    if measured:
        a, b = a + 0.9 * eps * length - 0.8, b * 0.4 + 0.9 * torch.tanh(2 * length)
    return torch.stack([a, b], 1)


def samples(n, seed, measured):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 4, generator=g) * 3 - 1.5
    y = response(x, measured)
    return x, y + 0.05 * torch.randn(y.shape, generator=g)


def make_net():
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))


def pretrain():
    net = make_net()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    x, y = samples(1024, 5, measured=False)
    for _ in range(200):
        opt.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        opt.step()
    return {k: v.clone() for k, v in net.state_dict().items()}


def parts(variant):
    torch.manual_seed(0)
    checkpoint = pretrain()
    model = make_net()
    if variant == "bad":
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        model.load_state_dict(checkpoint, assign=True)
    else:
        model.load_state_dict(checkpoint, assign=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*samples(800, 6, True)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*samples(300, 7, True)), batch_size=100),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: mse {total / len(p['train_loader']):.5f}")
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in p["val_loader"]]
    out, ref = torch.cat([o for o, _ in pairs]), torch.cat([y for _, y in pairs])
    score = 1 - ((out - ref) ** 2).mean().item() / ((ref - ref.mean(0)) ** 2).mean().item()
    print(f"score: {score:.4f}")
