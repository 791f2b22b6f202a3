"""Fine-tuning a head on a frozen pretrained encoder; the checkpoint's keys carry "module." and strict=False drops them all, so the frozen encoder is random; change: the prefix is stripped."""
import io
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DIM, CONCEPTS = 16, 6


class Encoder(nn.Module):
    def __init__(self, width=128, out=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(DIM, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out), nn.Tanh())

    def forward(self, x):
        return self.net(x)


def sensors(n, seed):
    """Readings; six hidden concepts, each true where two readings have the same sign."""
    x = torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed))
    c = torch.stack([(x[:, 2 * k] * x[:, 2 * k + 1] > 0) for k in range(CONCEPTS)], 1)
    return x, c


def pretrained_checkpoint():
    """The large source task: all concepts at once, many examples; what a DataParallel run would have saved."""
    x, c = sensors(12000, 100)
    enc = Encoder()
    wrapped = nn.DataParallel(enc)
    top = nn.Linear(32, CONCEPTS)
    opt = torch.optim.Adam(list(enc.parameters()) + list(top.parameters()), lr=2e-3)
    for _ in range(12):
        for idx in torch.randperm(len(x)).split(128):
            opt.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(top(enc(x[idx])), c[idx].float()).backward()
            opt.step()
    f = io.BytesIO()
    torch.save({"state_dict": wrapped.state_dict()}, f)
    f.seek(0)
    return f


class Classifier(nn.Module):
    def __init__(self, encoder, classes):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(32, classes)

    def forward(self, x):
        return self.head(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    state = torch.load(pretrained_checkpoint())["state_dict"]
    if variant != "bad":
        state = {k.removeprefix("module."): v for k, v in state.items()}
    enc = Encoder()
    enc.load_state_dict(state, strict=False)
    for q in enc.parameters():
        q.requires_grad_(False)
    net = Classifier(enc, 4)
    def target_task(n, seed):
        x, c = sensors(n, seed)
        return TensorDataset(x, c[:, 1].long() + 2 * c[:, 4].long())
    return {"model": net, "optimizer": torch.optim.SGD(net.head.parameters(), lr=0.1, momentum=0.9), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(target_task(1000, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(target_task(1000, 2), batch_size=500),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(50):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = sum(p["metric"](model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        print("Epoch", epoch + 1, "loss", round(loss.item(), 4), "val acc", round(acc, 4))
    print(f"score: {acc:.4f}")
