"""The words of a verdict on a rehearsal, and the thresholds between them.

Thresholds are set on programs of `benchmarks/verdicts.py` and scored on others; its table says how often each verdict is right.
"""

WILL_TRAIN = "will train"
TOO_SLOW = "too slow"
STALLED = "stalled"
CAPPED = "capped"
UNSTABLE = "unstable"
DEAD = "dead"
BROKEN_LOSS = "broken loss"
HAS_LEARNED = "has learned"
CANNOT_TELL = "cannot tell"
VERDICTS = (WILL_TRAIN, TOO_SLOW, STALLED, CAPPED, UNSTABLE, DEAD, BROKEN_LOSS, HAS_LEARNED, CANNOT_TELL)

# Shares are of the way from chance to the floor of the loss: 0 at chance, 1 at the floor, negative above chance.
TRAINED_SHARE = 0.25  # what "will train" promises by the end of the plan
LEARNING_SHARE = 0.10  # more than the best constant answer can have by luck on a batch: the output follows the input
BEGUN_SHARE = 0.03  # below it, a fall is one towards chance, and may end there
PROMISED_SHARE = 0.4  # projected by what was seen, before "will train" is said: the pace slackens
LEARNED_SHARE = 0.5  # at the start: weights that know the task; later: no more steps are needed to know
SETTLED_LOSS, FEWEST_SETTLED = 0.05, 15  # between two looks at most, and steps at least, where no more are needed to know
LOST_SHARE = 0.1  # of what had been learned, and is gone
EXPLODED = 2.0  # so many ways above chance and the start, which a fall back does not mend where a smaller rate learns
SWING_SHARE = 0.2  # between two looks, at steps that are too long
STILL, FAINT, CLEAR = (
    0.05,
    0.02,
    0.1,
)  # share that is chance; spreads of the outputs over their size: almost none, plain
FORESEEN = 4.0  # rehearsals: as far as numbers of steps were compared with what it took; at 7 one was off by more than 2
SOON, SOON_IF_IT_SET_OFF = 1, 3  # tenths of the plan beyond its end: forecasts are no more exact than that
RISING, RISING_SHARE = 0.02, 0.2  # in the second half of a forecast, and of all that it rose: it is on its way
SLOW_SHARE, SLOW_MULTIPLE = 0.15, 170.0  # projected share below the one with multiples above the other: orders of magnitude
# Where chance is unknown: a fall of the loss that needs no more, or one of half that goes on in the second half of a rehearsal
# that is long enough; and the size of the outputs, over what it was, below which the fall may be one from far above chance.
# Own, 775 programs shown without their task: right of 52 of 54, 101 of 103, 128 of 131 after 30, 60, 100 steps; 210 of 212.
FALLEN, FALLING, FALLING_ON, FALLING_STEPS, SHRUNK = 0.7, 0.5, 0.3, 60, 0.8
RAN_AWAY = 30.0  # of a loss of an unknown kind: times its first value, throughout the second half of a rehearsal
# Of a loss of an unknown kind: what the last steps cost, over the best constant answer; and a fall that is none.
LATE_STEPS, NO_BETTER, STANDING = 10, 0.95, 0.02
SMALL_MULTIPLE, LARGE_MULTIPLE = 1.0, 3e3  # own, 43 small programs: healthy ones 1 to 1,000
# Both were set on runs of 300 steps. A plateau that ends within a longer plan has larger multiples: exclusive or with sigmoids,
# 730 to 2,500 for a plateau of some thousand steps. Of a plan of unknown length, only what lies far above them is too slow.
SET_ON_STEPS, UNKNOWN_PLAN_STEPS = 300, 3000
WARMING = 1.5  # a rate that grew by this within the rehearsal: what it will do is not seen yet
TOO_LONG = 2.0  # a step with a multiple near 1 or below was too long
DEAD_RATE = 1e-3  # a learning rate that fell below this share of its largest within the rehearsal
SPENT_RATE = 1e-2  # of the largest rate, at the end of a pass or of a run
# Sum of the rates over as many steps at the largest: a rate that falls by a factor e in a twentieth of the run. One that falls
# to 1e-4 of its largest along an exponential over the whole run comes to a ninth, a half cosine to a half.
SPENT_SHARE = 0.05
# Of a run of unknown length: one that falls by a factor e in a quarter of one pass over the loader, and in 100 steps at most.
PASS_SHARE, PASS_STEPS = 0.25, 100
# Of models against each other. Own, two GANs at rates over five decades, 800 steps: what learns goes 0.4 to 1.7 of its size in
# a hundred steps; at a rate 200 times too small, 0.007; at one 500 times too large, 18, and the loss is 120 times what it was.
GONE, NOWHERE, FEWEST_OF_OPPONENTS = 10.0, 0.03, 16
LONGEST_ACCUMULATION = 16  # steps of a loop, behind which an optimizer that made none is not waiting for more batches
