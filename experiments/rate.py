"""Very good, very poor: the learning rate, and the whole distribution over seeds."""

from dataclasses import replace

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

RATES = (0.001, 0.002, 0.004, 0.007, 0.013, 0.025, 0.05, 0.08, 0.15, 0.3, 0.55, 1.0)
BASE = replace(DEFAULT, epochs=1000)

experiment = Experiment(
    title="Very good or very poor",
    question=(
        "Why is the same network very good on one run and very poor on the next? Learning rates from 0.001 to 1, with "
        "1000 epochs each. A mean hides how outcomes are spread, so the whole distribution over seeds is shown. Are "
        "the steps too small to arrive, are they too large, or is the hidden unit one that no step can reach?"
    ),
    configs=grid(BASE, learning_rate=RATES, activation=("relu", "linear")),
    contrasts=tuple(
        Contrast(replace(BASE, learning_rate=rate), replace(BASE, learning_rate=rate, activation="linear"))
        for rate in (0.013, 0.15, 1.0)
    ),
    figures=(
        Figure("distribution", x="learning_rate"),
        Figure("lines", x="learning_rate", score="learned"),
    ),
    order=45,
)

if __name__ == "__main__":
    experiment.main()
