"""LSTM that names the washing programme from a vibration record (batch, time, channels); bad: nn.LSTM is left at batch_first=False, so the recurrence runs over the examples of the batch; change: batch_first=True."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def records(n, rng, length=50):
    """Six programmes: order of a slow, a fast and a still phase."""
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    labels = rng.integers(0, 6, n)
    t = np.arange(length)
    X = np.zeros((n, length, 3), dtype=np.float32)
    for i, lab in enumerate(labels):
        cuts = np.sort(rng.integers(-4, 5, 2)) + np.array([length // 3, 2 * length // 3])
        phase = np.digitize(t, cuts)
        kind = np.array(orders[lab])[phase]
        for c in range(3):
            slow = np.sin(0.4 * t + rng.uniform(0, 6))
            fast = np.sin(1.6 * t + rng.uniform(0, 6))
            X[i, :, c] = np.select([kind == 0, kind == 1], [slow, fast], 0.0)
    X += 0.2 * rng.standard_normal(X.shape)
    return torch.tensor(X, dtype=torch.float32), torch.tensor(labels)


class CycleLSTM(nn.Module):
    def __init__(self, input_dim, hidden_dim, layer_dim, output_dim, **kwargs):
        super().__init__()
        self.lstm = nn.LSTM(input_dim, hidden_dim, layer_dim, **kwargs)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x):
        out, (hn, cn) = self.lstm(x)
        return self.fc(out[:, -1, :])


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X_train, y_train = records(1600, rng)
    X_val, y_val = records(400, rng)
    kwargs = {} if variant == "bad" else {"batch_first": True}
    model = CycleLSTM(3, 48, 1, 6, **kwargs)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(X_train, y_train), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X_val, y_val), batch_size=40),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        loss_sum = 0.0
        for sequences, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(sequences), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss_sum += loss.item()
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for sequences, labels in p["val_loader"]:
                correct += (model(sequences).argmax(dim=1) == labels).sum().item()
                total += labels.size(0)
        acc = correct / total
        print(f"Epoch {epoch + 1:02d} | Train loss {loss_sum / len(p['train_loader']):.4f} | Val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
