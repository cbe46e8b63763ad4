"""How far apart the clusters are."""

from dataclasses import replace

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

DISTANCES = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)

experiment = Experiment(
    title="How far apart the clusters are",
    question=(
        "Accuracy rises with the distance whatever one does, and so does the best that is possible. What is left is "
        "the regret: Bayes accuracy minus the network's. How does it depend on the distance, the loss and the "
        "activation?"
    ),
    configs=grid(distance=DISTANCES, loss=("bce", "mse"), activation=("relu", "linear")),
    contrasts=tuple(
        Contrast(replace(DEFAULT, distance=distance), replace(DEFAULT, distance=distance, loss="mse"))
        for distance in DISTANCES
    ),
    figures=(
        Figure("lines", x="distance", score="regret"),
        Figure("lines", x="distance", score="learned"),
    ),
    order=50,
)

if __name__ == "__main__":
    experiment.main()
