"""Recurrent classifier of skating moves from an ankle sensor, after a well-known RNN tutorial that sets batch_first=True; bad: nn.GRU gets (batch, time, features) without batch_first, so it runs along the batch and the last time step of each record is all that is read of it; change: batch_first=True."""
import sys

import torch
import torch.nn as nn
import torch.utils.data

# Hyper-parameters
sequence_length = 40
input_size = 4
hidden_size = 64
num_layers = 1
num_classes = 5
batch_size = 50
num_epochs = 8
learning_rate = 0.003


def records(n, seed):
    """Push, glide, turn left, turn right, jump: each is an event of about ten samples at some time in the record."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, (n,), generator=g)
    x = 0.4 * torch.randn(n, sequence_length, input_size, generator=g)
    t = torch.arange(10.0)
    for i, k in enumerate(labels.tolist()):
        s = int(torch.randint(2, 26, (1,), generator=g))
        bump = torch.sin(t * 3.14 / 9) * (1.5 + torch.rand(1, generator=g))
        channel, sign = [(0, 1), (0, -1), (1, 1), (1, -1), (2, 1)][k]
        x[i, s:s + 10, channel] += sign * bump
        x[i, s:s + 10, 3] += bump
    return torch.utils.data.TensorDataset(x, labels)


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, num_layers, num_classes, **kwargs):
        super(RNN, self).__init__()
        self.gru = nn.GRU(input_size, hidden_size, num_layers, **kwargs)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        # Forward propagate GRU
        out, _ = self.gru(x)
        # Decode the hidden state of the last time step
        out = self.fc(out[:, -1, :])
        return out


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        model = RNN(input_size, hidden_size, num_layers, num_classes)
    else:
        model = RNN(input_size, hidden_size, num_layers, num_classes, batch_first=True)
    return {
        "model": model,
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=learning_rate),
        "train_loader": torch.utils.data.DataLoader(dataset=records(2000, 1), batch_size=batch_size, shuffle=True),
        "val_loader": torch.utils.data.DataLoader(dataset=records(500, 2), batch_size=batch_size, shuffle=False),
    }


WORKS = lambda score: score > 80

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    total_step = len(p["train_loader"])
    for epoch in range(num_epochs):
        for i, (moves, labels) in enumerate(p["train_loader"]):
            outputs = model(moves)
            loss = criterion(outputs, labels)

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            if (i + 1) % 20 == 0:
                print("Epoch [{}/{}], Step [{}/{}], Loss: {:.4f}".format(epoch + 1, num_epochs, i + 1, total_step, loss.item()))

    model.eval()
    with torch.no_grad():
        correct = 0
        total = 0
        for moves, labels in p["val_loader"]:
            _, predicted = torch.max(model(moves), 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    score = 100 * correct / total
    print(f"score: {score:.4f}")
