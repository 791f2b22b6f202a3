"""A loop that picks its examples out of all data reads only these, and its targets are masked no more than its inputs."""

import torch
from torch import nn

from trainability import Monitor


def test_rows_that_a_loop_does_not_pick_are_no_masked_targets() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 12)
    x[:, 3] = 0.0
    x[384:, 3] = torch.randn(16)  # a column that is one number in nearly all examples
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 12))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=5) as monitor:
        for _ in range(3):
            for rows in torch.arange(400).split(64):
                noisy = x[rows] * (torch.rand(len(rows), 12) > 0.25)
                loss = nn.functional.mse_loss(model(noisy), x[rows])
                optimizer.zero_grad()
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
    assert "masked_targets" not in {finding.code for finding in monitor.diagnose().findings}
