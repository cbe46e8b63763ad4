"""ReLU, linear, tanh, sigmoid in the hidden layer."""

from dataclasses import replace

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

ACTIVATIONS = ("relu", "linear", "tanh", "sigmoid")

experiment = Experiment(
    title="Which activation inside",
    question=(
        "Why ReLU in the hidden layer? The best possible classifier of two such clusters is a straight line, which a "
        "network without any activation can draw. Does ReLU help here, or does it get in the way?"
    ),
    configs=grid(activation=ACTIVATIONS),
    contrasts=tuple(
        Contrast(DEFAULT, replace(DEFAULT, activation=other), primary=other == "linear")
        for other in ACTIVATIONS[1:]
    ),
    figures=(Figure("scores"), Figure("outcomes")),
    order=30,
)

if __name__ == "__main__":
    experiment.main()
