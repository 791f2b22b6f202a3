"""Sound program: vision transformer on sklearn's digits with Lookahead around AdamW: after every fifth step all weights jump half of the way back to a slow copy, by hand and outside the optimizer."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class PatchTransformer(nn.Module):
    def __init__(self, dim=40):
        super().__init__()
        self.embed = nn.Linear(4, dim)
        self.place = nn.Parameter(0.1 * torch.randn(16, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 80, dropout=0.05, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(dim, 10)

    def forward(self, x):
        patches = nn.functional.unfold(x, 2, stride=2).transpose(1, 2)
        return self.head(self.body(self.embed(patches) + self.place).mean(1))


class Lookahead:
    def __init__(self, model, every=5, share=0.5):
        self.slow = [w.detach().clone() for w in model.parameters()]
        self.every, self.share, self.count = every, share, 0

    @torch.no_grad()
    def after_step(self, model):
        self.count += 1
        if self.count % self.every:
            return
        for slow, fast in zip(self.slow, model.parameters()):
            slow.lerp_(fast, self.share)
            fast.copy_(slow)


def parts(variant):
    torch.manual_seed(0)
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32)[:, None]
    x, y = (x - x.mean()) / x.std(), torch.tensor(bunch.target)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    model = PatchTransformer()
    lookahead = Lookahead(model)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def step(model, batch, optimizer):
        images, labels = batch
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        lookahead.after_step(model)
        return loss.detach()

    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.02),
        "train_loader": DataLoader(TensorDataset(x[:1350], y[:1350]), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1350:], y[1350:]), batch_size=200),
        "loss_fn": criterion,
        "step": step,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]

    def validate():
        model.eval()
        with torch.no_grad():
            hits = sum(p["metric"](model(x), y) * len(y) for x, y in p["val_loader"])
        model.train()
        return hits / len(p["val_loader"].dataset)

    for epoch in range(14):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {validate():.4f}")
    print(f"score: {validate():.4f}")
