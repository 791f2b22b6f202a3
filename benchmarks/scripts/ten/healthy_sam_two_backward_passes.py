"""Sound: digits by a patch MLP with sharpness-aware minimisation; each batch has two backward passes, the weights are moved uphill and back between them and the gradients are cleared in the middle of the body, before the one real step."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def digits():
    d = load_digits()
    x = (torch.tensor(d.data, dtype=torch.float32) - 4.884) / 6.017
    patches = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
    a, b, ya, yb = train_test_split(patches, torch.tensor(d.target), test_size=0.25, random_state=0)
    return TensorDataset(a, ya), TensorDataset(b, yb)


class PatchMLP(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.patch = nn.Linear(4, width)
        self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16 * width, 64), nn.GELU(), nn.Linear(64, 10))

    def forward(self, x):
        h = self.patch(x)
        h = h + self.tokens(self.norm(h).transpose(1, 2)).transpose(1, 2)
        return self.head(torch.nn.functional.gelu(h))


criterion = nn.CrossEntropyLoss()


def sam_step(model, batch, optimizer, rho=0.05):
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    with torch.no_grad():
        grads = [w.grad for w in model.parameters()]
        norm = torch.stack([g.norm() for g in grads]).norm() + 1e-12
        uphill = [rho * g / norm for g in grads]
        for w, e in zip(model.parameters(), uphill):
            w.add_(e)
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    with torch.no_grad():
        for w, e in zip(model.parameters(), uphill):
            w.sub_(e)
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    train, test = digits()
    model = PatchMLP()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "loss_fn": criterion,
        "step": sam_step,
        "train_loader": DataLoader(train, batch_size=32, shuffle=True),
        "val_loader": DataLoader(test, batch_size=150),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()
    model.train()
    return right


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, step = p["model"], p["optimizer"], p["step"]
    for epoch in range(8):
        for batch in p["train_loader"]:
            loss = step(model, batch, optimizer)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
