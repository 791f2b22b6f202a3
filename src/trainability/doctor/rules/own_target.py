"""Targets that move with the gradient"""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule

_ADVANTAGE = Finding(
    rule="own_target",
    code="own_target.advantage",
    severity="warning",
    seen="log-probabilities are multiplied by an advantage whose gradient goes into the critic that made it",
    measurements=(Measurement(name="advantages with a gradient", value=1.0, threshold=0.0),),
    cause="the advantage is not detached: besides towards the returns, the critic is moved to make the policy's term small",
    remedy="advantage = (returns - values).detach() in the policy's term; values keep their gradient in their own loss alone",
    source="Mnih et al., Asynchronous Methods for Deep Reinforcement Learning, ICML 2016, algorithm S3; own: followed",
)


@rule(severities=("warning",))
def own_target(evidence: Evidence) -> list[Finding]:
    """The target of a temporal difference has a gradient.

    Fires: in a check, one network is called with two tensors of the batch of one shape, both times with a gradient, and each
        example's slopes of the loss in its reward, its value and its next value are as 1, -1 and a discount of 0.5 or more, or
        0 at an end, to 1e-3; a discount of 1 only where there are ends. Code `advantage`: in a check, log-probabilities of
        actions, or their ratios, are multiplied by a number with a gradient that is made of a layer's outputs by sums, products
        and means, without probabilities, and a squared, absolute or Huber loss is made of the same outputs.
    Why: the loss then also moves what comes after towards what comes before, by nearly as much: values spread both ways, and
        where chance has a part in what comes next, the minimum is at other values than the returns. An advantage with a
        gradient moves the critic to where the policy's term is small, away from the returns.
    What fools it: residual gradients that are meant (Baird, 1995).
    Fix: for `advantage`, advantage = (returns - values).detach(). Else with torch.no_grad() around the target, or detach() of
        it; better, a target network: a copy that follows slowly.
    Source: Mnih et al., Human-level control through deep reinforcement learning, Nature 2015; Sutton and Barto, Reinforcement
        Learning, 2nd edition, sections 9.3 and 11.5; own: slopes of one pass.
    """
    facts = reading.facts(evidence)
    discount = facts.readings.target_slope
    if discount is None:
        return [_ADVANTAGE] if facts.moves_critic else []
    return [
        Finding(
            rule="own_target",
            severity="warning",
            seen=f"the loss compares a value with reward + {discount:.3g} * next value, and its gradient goes through the next "
            "value, which the same network makes",
            measurements=(Measurement(name="slope in the next value over that in the value", value=discount, threshold=0.0),),
            cause="the target is not detached, or the network itself is called for it in place of a target network",
            remedy="with torch.no_grad(): target = reward + discount * (1 - done) * target_network(next_state).max(1).values",
            source="Mnih et al., Nature 2015; Sutton and Barto, Reinforcement Learning, section 11.5; own: slopes of one pass",
        )
    ]
