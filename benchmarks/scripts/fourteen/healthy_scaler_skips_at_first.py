"""Sound: tone pitch classifier in a GradScaler loop whose scale starts far too high, so that the first updates are skipped until the scale has come down; then it trains. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def tones(n, seed, length=128):
    g = torch.Generator().manual_seed(seed)
    pitch = torch.randint(0, 8, (n,), generator=g)
    f = 3.0 * 2 ** (pitch.float() / 4)
    t = torch.linspace(0, 1, length)
    phase = torch.rand(n, 1, generator=g) * 6.28
    wave = torch.sin(6.28 * f[:, None] * t + phase) + 0.4 * torch.sin(12.57 * f[:, None] * t + 2 * phase)
    return TensorDataset((wave + 0.4 * torch.randn(n, length, generator=g))[:, None], pitch)


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 9, stride=2, padding=4), nn.ReLU(),
        nn.Conv1d(16, 32, 9, stride=2, padding=4), nn.ReLU(),
        nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(128, 8))
    criterion = nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 26, growth_interval=500)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "step": step,
        "train_loader": DataLoader(tones(2000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(tones(400, 2), batch_size=200),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            losses.append(p["step"](model, batch, p["optimizer"]).item())
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
