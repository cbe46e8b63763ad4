"""BCE against MSE, each at the learning rate that suits it best."""

from collections.abc import Callable
from dataclasses import replace

from optuna import Trial

from qwerties import DEFAULT, Config
from qwerties.tuning import ArmContrast, TunedArm, Tuning

LOW, HIGH = 1e-3, 10.0


def rates(loss: str) -> Callable[[Trial], Config]:
    """Return the space of one loss: the notebook's config at any learning rate."""

    def space(trial: Trial) -> Config:
        return replace(
            DEFAULT, loss=loss, learning_rate=trial.suggest_float("learning_rate", LOW, HIGH, log=True)
        )

    return space


experiment = Tuning(
    title="BCE or MSE, tuned",
    question=(
        "The gradients of the two losses differ in size, so that a rate that suits one need not suit the other: what "
        f"is left of the difference when each has the learning rate that suits it? It is searched from {LOW:g} to "
        f"{HIGH:g}, with the same budget for both, on seeds that the comparison does not use. Does the search have to "
        "be a clever one? Random and evenly spread rates get the same budget."
    ),
    arms=(TunedArm("bce", rates("bce")), TunedArm("mse", rates("mse"))),
    contrasts=(ArmContrast("bce", "mse", primary=True),),
    trials=30,
    baselines=("random", "qmc"),
    order=25,
)

if __name__ == "__main__":
    experiment.main()
