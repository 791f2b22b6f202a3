"""A plain recurrent network with rectifiers reads fifty ledger lines and must name the account of the first. Odd, but right: the recurrent matrix starts as the exact identity, the input weights with a deviation of a thousandth and the biases at zero (the IRNN of Le, Jaitly and Hinton, 2015), and the gradients are clipped at one. RMSprop with a small rate that falls by a sixth each epoch. Score: held-out accuracy."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
ACCOUNTS, LINES = 6, 50


def post_ledgers(n, g):
    """First line: the account; all others: small amounts with no account."""
    account = torch.randint(0, ACCOUNTS, (n,), generator=g)
    x = torch.zeros(n, LINES, ACCOUNTS + 1)
    x[torch.arange(n), 0, account] = 1.0
    x[:, 1:, ACCOUNTS] = torch.rand(n, LINES - 1, generator=g) - 0.5
    x[:, :, :ACCOUNTS] += 0.05 * torch.randn(n, LINES, ACCOUNTS, generator=g)
    return x, account


class IdentityRNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rnn = nn.RNN(ACCOUNTS + 1, hidden, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(hidden, ACCOUNTS)
        with torch.no_grad():
            nn.init.eye_(self.rnn.weight_hh_l0)
            nn.init.normal_(self.rnn.weight_ih_l0, std=1e-3)
            nn.init.zeros_(self.rnn.bias_hh_l0)
            nn.init.zeros_(self.rnn.bias_ih_l0)

    def forward(self, x):
        _, h = self.rnn(x)
        return self.head(h[-1])


def step(model, batch, optimizer):
    x, y = batch
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(33)
    g = torch.Generator().manual_seed(330)
    model = IdentityRNN()
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=4e-4), "step": step,
            "train_loader": DataLoader(TensorDataset(*post_ledgers(2400, g)), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*post_ledgers(500, g)), batch_size=500),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    scheduler = torch.optim.lr_scheduler.ExponentialLR(p["optimizer"], gamma=5 / 6)
    for epoch in range(8):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        scheduler.step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f} accuracy {score:.3f}")
    print("score:", score)
