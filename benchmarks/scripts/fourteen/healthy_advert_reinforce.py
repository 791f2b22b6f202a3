"""Sound: a policy that chooses one of six adverts, with its softmax inside the model, trained by REINFORCE with the batch mean as the baseline; the loss is small, negative and says little, while the reward rises. Nothing to change."""
import sys
import torch
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

ADVERTS = 6


def visitors(n, seed):
    taste = torch.randn(ADVERTS, 8, generator=torch.Generator().manual_seed(31))
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    fit = (x @ taste.T) * 0.6 + torch.sin(2 * x[:, :ADVERTS])
    return TensorDataset(x, torch.sigmoid(2 * fit - 2))


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, ADVERTS), nn.Softmax(dim=-1))

    def forward(self, x):
        return self.net(x)


def training_step(model, batch):
    x, click_rate = batch
    policy = Categorical(probs=model(x))
    shown = policy.sample()
    clicks = torch.bernoulli(click_rate.gather(1, shown[:, None]).squeeze(1))
    advantage = clicks - clicks.mean()
    return -(policy.log_prob(shown) * advantage).mean() - 0.01 * policy.entropy().mean()


def parts(variant):
    torch.manual_seed(0)
    model = Policy()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "training_step": training_step,
        "train_loader": DataLoader(TensorDataset(*visitors(4000, 1).tensors), batch_size=100, shuffle=True),
        "val_loader": DataLoader(visitors(1000, 2), batch_size=500),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            got = torch.cat([(model(x) * rate).sum(1) for x, rate in p["val_loader"]]).mean()
            best = torch.cat([rate.max(1).values for _, rate in p["val_loader"]]).mean()
            chance = torch.cat([rate.mean(1) for _, rate in p["val_loader"]]).mean()
        score = ((got - chance) / (best - chance)).item()
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} share of the best gain {score:.4f}")
    print(f"score: {score:.4f}")
