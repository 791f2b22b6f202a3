"""Regression and classification with learned task uncertainties; the loss lacks the log-variance terms, so the uncertainties grow and switch the tasks off; change: `fixed` adds them."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 40
WORKS = lambda score: score > 0.8          # mean of the regression's R2 and the classification's accuracy


def make_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 20, generator=g)
    w = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)) / 20 ** 0.5
    h = torch.tanh(1.5 * x @ w)
    y_reg = h[:, 0] * h[:, 1] * 2 + h[:, 2] + 0.1 * torch.randn(n, generator=g)
    y_cls = (h[:, 3:] + 0.05 * torch.randn(n, 3, generator=g)).argmax(1)
    return x, y_reg, y_cls


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.reg, self.cls = nn.Linear(64, 1), nn.Linear(64, 3)
        self.log_vars = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        h = self.trunk(x)
        return self.reg(h).squeeze(1), self.cls(h)


def parts(variant):
    torch.manual_seed(0)
    train_loader = DataLoader(TensorDataset(*make_data(6000, 1)), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(*make_data(1500, 2)), batch_size=500)
    model = MultiTask()
    weights = [p for n, p in model.named_parameters() if n != "log_vars"]
    optimizer = torch.optim.SGD([{"params": weights}, {"params": [model.log_vars], "lr": 0.2}], lr=0.03, momentum=0.9)

    def training_step(model, batch):
        x, y_reg, y_cls = batch
        r, c = model(x)
        task_losses = torch.stack([F.mse_loss(r, y_reg), F.cross_entropy(c, y_cls)])
        weighted = torch.exp(-model.log_vars) * task_losses
        if variant != "bad":
            weighted = weighted + 0.5 * model.log_vars
        return weighted.sum()

    return dict(model=model, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader,
                training_step=training_step)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    r, c = zip(*[model(x) for x, _, _ in loader])
    y, k = torch.cat([b[1] for b in loader]), torch.cat([b[2] for b in loader])
    r2 = 1 - ((torch.cat(r) - y) ** 2).mean() / y.var()
    acc = (torch.cat(c).argmax(1) == k).float().mean()
    model.train()
    return r2.item(), acc.item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(EPOCHS):
        s = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            s += loss.item()
        if epoch % 5 == 4:
            r2, acc = evaluate(model, p["val_loader"])
            print(f"epoch {epoch + 1}: loss {s / len(p['train_loader']):.4f}  R2 {r2:.3f}  acc {acc:.3f}")
    r2, acc = evaluate(model, p["val_loader"])
    print("score:", round((r2 + acc) / 2, 4))
