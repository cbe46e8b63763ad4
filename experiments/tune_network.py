"""The notebook's network against the best one that can be found."""

from typing import Any

from optuna import Trial

from qwerties import DEFAULT, Config
from qwerties.tuning import ArmContrast, TunedArm, Tuning


def space(trial: Trial) -> Config:
    """Suggest every hyperparameter at once; momentum for SGD only, a second width for two layers only."""
    fields: dict[str, Any] = {
        "loss": trial.suggest_categorical("loss", ("bce", "mse")),
        "activation": trial.suggest_categorical("activation", ("relu", "linear", "tanh", "sigmoid")),
        "optimizer": trial.suggest_categorical("optimizer", ("sgd", "adam")),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 10, log=True),
    }
    if fields["optimizer"] == "sgd":
        fields["momentum"] = trial.suggest_float("momentum", 0, 0.95)
    depth = trial.suggest_int("depth", 1, 2)
    hidden = tuple(trial.suggest_int(f"width_{layer + 1}", 1, 16, log=True) for layer in range(depth))
    return Config(
        **fields,
        hidden=hidden,
        output_scale=trial.suggest_float("output_scale", 0.1, 10, log=True),
        epochs=trial.suggest_int("epochs", 100, 2000, log=True),
    )


experiment = Tuning(
    title="The best network",
    question=(
        "How much better than the notebook's can a network do here, and what does that cost? Loss, activation, "
        "optimizer, learning rate, momentum, width, depth, initial output weights and epochs are searched at once, for "
        "little regret (Bayes accuracy minus accuracy) and little cost (network-epochs times parameters). The one of "
        "least regret is compared with the notebook's on fresh seeds."
    ),
    arms=(TunedArm("best", space),),
    fixed={"the notebook's": DEFAULT},
    contrasts=(ArmContrast("best", "the notebook's", primary=True),),
    trials=64,
    objectives=("regret", "cost"),
    champion="best",
    order=90,
)

if __name__ == "__main__":
    experiment.main()
