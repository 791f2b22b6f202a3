"""Binary classifier for pump failures, about 3% of the rows; bad: plain BCEWithLogitsLoss, the network answers "no failure" for nearly every row; change: pos_weight from the counts of the training rows."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def sensor_log(n=6000):
    rng = np.random.default_rng(21)
    vibration = rng.gamma(2.0, 1.0, n)
    temperature = rng.normal(60, 8, n)
    pressure = rng.normal(5, 0.7, n)
    flow = 0.6 * pressure + rng.normal(8, 1, n)
    rpm = rng.normal(1450, 40, n)
    age = rng.uniform(0, 15, n)
    risk = 0.55 * (vibration - 2) + 0.07 * (temperature - 60) - 0.7 * (pressure - 5) + 0.12 * (age - 7.5)
    failure = rng.random(n) < 1 / (1 + np.exp(-(risk - 4.1)))
    X = np.column_stack([vibration, temperature, pressure, flow, rpm, age])
    return X, failure.astype(np.float32)


class FailureClassifier(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.layer_1 = nn.Linear(num_features, 32)
        self.layer_2 = nn.Linear(32, 16)
        self.layer_out = nn.Linear(16, 1)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.1)

    def forward(self, inputs):
        x = self.relu(self.layer_1(inputs))
        x = self.relu(self.layer_2(x))
        x = self.dropout(x)
        return self.layer_out(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = sensor_log()
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.3, stratify=y, random_state=69)
    scaler = StandardScaler()
    X_train, X_val = scaler.fit_transform(X_train), scaler.transform(X_val)
    as_set = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b)[:, None])
    pos_weight = None
    if variant != "bad":
        pos_weight = torch.tensor([(y_train == 0).sum() / (y_train == 1).sum()], dtype=torch.float32)
    model = FailureClassifier(X.shape[1])
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.BCEWithLogitsLoss(pos_weight=pos_weight),
        "train_loader": DataLoader(as_set(X_train, y_train), batch_size=64, shuffle=True),
        "val_loader": DataLoader(as_set(X_val, y_val), batch_size=300),
    }


WORKS = lambda score: score > 0.7  # balanced accuracy

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for e in range(1, 21):
        model.train()
        epoch_loss = 0
        for X_batch, y_batch in p["train_loader"]:
            optimizer.zero_grad()
            y_pred = model(X_batch)
            loss = criterion(y_pred, y_batch)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        model.eval()
        y_pred_list, y_true_list = [], []
        with torch.no_grad():
            for X_batch, y_batch in p["val_loader"]:
                y_pred_list.append(torch.round(torch.sigmoid(model(X_batch))))
                y_true_list.append(y_batch)
        y_hat, y_true = torch.cat(y_pred_list).numpy().ravel(), torch.cat(y_true_list).numpy().ravel()
        score = balanced_accuracy_score(y_true, y_hat)
        print(f"Epoch {e:02}: loss {epoch_loss / len(p['train_loader']):.5f} | acc {(y_hat == y_true).mean():.3f} | "
              f"balanced acc {score:.3f} | failures found {int(y_hat.sum())}")
    print(f"score: {score:.4f}")
