"""Sound. Looks odd: inputs are (districts, voters, features) and the target is one number per district, probabilities are averaged before the logarithm, and the loss never comes near zero; validation has another shape (single voters with labels 0 or 1). It is learning from label proportions: only each district's share of yes votes is known in training; a share has an entropy of its own, which the cross entropy cannot go below."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
VOTERS, FEATURES = 20, 6


def electorate(districts, voters, rng):
    """Age, income, distance to the station, ...; whoever lives far off or is young votes for the tram."""
    place = rng.normal(0, 1.0, (districts, 1, FEATURES))
    x = place + rng.normal(0, 1, (districts, voters, FEATURES))
    score = 2.5 * x[..., 0] - 2.0 * x[..., 1] + 1.5 * np.tanh(2 * x[..., 2]) + 0.8 * x[..., 3] * (x[..., 4] > 0)
    vote = rng.random(score.shape) < 1 / (1 + np.exp(-2 * score))
    return torch.tensor(x / 1.4, dtype=torch.float32), torch.tensor(vote, dtype=torch.float32)


class VoterNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def share_loss(logits, share):
    expected = logits.sigmoid().mean(dim=1).clamp(1e-4, 1 - 1e-4)
    return -(share * expected.log() + (1 - share) * (1 - expected).log()).mean()


def voter_accuracy(logits, votes):
    return ((logits > 0).float() == votes).float().mean()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(8)
    x, votes = electorate(300, VOTERS, rng)
    x_val, votes_val = electorate(100, 15, rng)
    model = VoterNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05),
            "loss_fn": share_loss, "metric": voter_accuracy,
            "train_loader": DataLoader(TensorDataset(x, votes.mean(1)), batch_size=10, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x_val.flatten(0, 1), votes_val.flatten()), batch_size=1500)}


WORKS = lambda score: score > 0.78

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(30):
        p["model"].train()
        for x, share in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), share)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, votes = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), votes).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: share loss {loss.item():.3f}, voters right {score:.3f}")
    print("score:", score)
