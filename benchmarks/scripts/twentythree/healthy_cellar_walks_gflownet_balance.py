"""GFlowNet with trajectory balance on an 8x8 grid with four rich corners: it learns to stop at each cell with probability proportional to the reward. Unusual: a learned log-partition number with a rate of its own (0.1), training paths from a policy mixed with uniform moves; the score is the total-variation distance to the true distribution."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
H, STEPS = 8, 500


def reward(pos):
    z = (pos.float() / (H - 1) - 0.5).abs()
    return 0.05 + 0.5 * (z > 0.25).all(1).float() + 2.0 * ((z > 0.3) & (z < 0.4)).all(1).float()


CELLS = torch.stack(torch.meshgrid(torch.arange(H), torch.arange(H), indexing="ij"), -1).view(-1, 2)
TRUE = reward(CELLS) / reward(CELLS).sum()


class FlowNet(nn.Module):
    """forward policy: right, up or stop; backward policy uniform over the possible parents"""
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * H, 96), nn.LeakyReLU(), nn.Linear(96, 96), nn.LeakyReLU(), nn.Linear(96, 3))
        self.log_z = nn.Parameter(torch.zeros(()))

    def forward(self, pos):
        onehot = nn.functional.one_hot(pos, H).flatten(1).float()
        logits = self.net(onehot)
        blocked = torch.cat([pos == H - 1, torch.zeros(len(pos), 1, dtype=torch.bool)], 1)
        return logits.masked_fill(blocked, -1e9)


def training_step(model, batch, explore=0.1):
    n = len(batch)
    pos = torch.zeros(n, 2, dtype=torch.long)
    alive = torch.ones(n, dtype=torch.bool)
    log_pf, log_pb = torch.zeros(n), torch.zeros(n)
    for _ in range(2 * H - 1):
        logits = model(pos)
        logp = logits.log_softmax(1)
        with torch.no_grad():
            uniform = (logits > -1e8).float()
            mix = (1 - explore) * logp.exp() + explore * uniform / uniform.sum(1, keepdim=True)
            a = torch.multinomial(mix, 1)
        log_pf = log_pf + torch.where(alive, logp.gather(1, a).squeeze(1), torch.zeros(n))
        a = a.squeeze(1)
        move = alive & (a < 2)
        pos = pos + nn.functional.one_hot(a, 3)[:, :2] * move[:, None]
        parents = (pos > 0).sum(1).clamp(min=1).float()
        log_pb = log_pb - torch.where(move, parents.log(), torch.zeros(n))
        alive = move
        if not alive.any():
            break
    gap = model.log_z + log_pf - reward(pos).log() - log_pb
    return (gap ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = FlowNet()
    opt = torch.optim.Adam([{"params": model.net.parameters(), "lr": 2e-3}, {"params": [model.log_z], "lr": 0.1}])
    return {"model": model, "optimizer": opt, "training_step": training_step,
            "train_loader": DataLoader(range(64 * STEPS), batch_size=64)}       # the numbers only count the walks


WORKS = lambda score: score < 0.1


@torch.no_grad()
def stop_distribution(model):
    """exact distribution of the last cell under the learned policy"""
    prob = model(CELLS).softmax(1).view(H, H, 3)
    reach = torch.zeros(H, H)
    reach[0, 0] = 1
    for i in range(H):
        for j in range(H):
            if i > 0:
                reach[i, j] += reach[i - 1, j] * prob[i - 1, j, 0]
            if j > 0:
                reach[i, j] += reach[i, j - 1] * prob[i, j - 1, 1]
    return (reach * prob[..., 2]).flatten()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for i, batch in enumerate(p["train_loader"]):
        for group, base in zip(opt.param_groups, (2e-3, 0.1)):
            group["lr"] = base * (1 - i / STEPS)
        opt.zero_grad()
        loss = training_step(model, batch)
        loss.backward()
        opt.step()
        if i % 200 == 0:
            tv = 0.5 * (stop_distribution(model) - TRUE).abs().sum().item()
            print(f"step {i}: loss {loss.item():.3f}  log Z {model.log_z.item():.2f} (true {reward(CELLS).sum().log().item():.2f})  tv {tv:.3f}")
    print("score:", 0.5 * (stop_distribution(model) - TRUE).abs().sum().item())
