"""Between parameters and loss: what depends on the parameters, and has no gradient that says so."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",), explains=("plateau", "slow_start", "loss_cliff", "constant_as_good"))
def flat_derivative(evidence: Evidence) -> list[Finding]:
    """A derivative that the loss is made of is exactly zero, whatever the weights.

    Fires: the loss differentiates by itself (`torch.autograd.grad(..., create_graph=True)`), what is differentiated is not
        zero, and its derivative is zero for every example.
    Why: a net of ReLU is piecewise linear: its second derivative is zero wherever there is one. A differential equation, or a
        penalty on curvature, then asks for something that no weights can give.
    What fools it: a penalty that is zero at the start by the weights alone.
    Fix: smooth activations: torch.nn.Tanh(), torch.nn.SiLU(), torch.nn.Softplus(), or sines.
    Source: Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019, section 3 (tanh); read off the pass.
    """
    facts = reading.facts(evidence)
    if not facts.flat_derivative:
        return []
    return [
        Finding(
            rule="flat_derivative",
            severity="warning",
            seen="the loss asks for a derivative that is exactly zero for every example, of something that is not",
            measurements=(Measurement(name="largest derivative", value=0.0, threshold=0.0),),
            cause="piecewise linear activations (ReLU, LeakyReLU) have no second derivative",
            remedy="torch.nn.Tanh() or torch.nn.SiLU() in place of every ReLU of the model that is differentiated twice",
            source="Physics-informed neural networks, 2019; own check",
        )
    ]


def drawn_without_gradient(evidence: Evidence) -> list[Finding]:
    """A draw that the loss depends on, and that hands nothing on to what made its distribution."""
    drawn = reading.facts(evidence).drawn
    if drawn is None:
        return []
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"{drawn}(...).sample() is used, and hands no gradient to what made the distribution's parameters",
            measurements=(Measurement(name="gradient through the draw", value=0.0, threshold=0.0),),
            cause="sample() draws under no_grad(); rsample() draws as a function of the parameters",
            remedy=f"rsample() in place of sample() of {drawn}",
            source="Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, section 2.4; torch.distributions",
        )
    ]
