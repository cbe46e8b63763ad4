"""The notebook's network against the best one that can be found."""

from qwerties import DEFAULT
from qwerties.tuning import Categorical, Float, Int, Pair, Tuned, Tuning

TRIALS = 64

experiment = Tuning(
    title="The best network",
    question=(
        "How much better than the notebook's can a network do here, and what does that cost? Loss, activation, "
        "optimizer, learning rate, momentum, width, depth, initial output weights and epochs are searched at once, for "
        "little regret (Bayes accuracy minus accuracy) and little cost (network-epochs times parameters). The one of "
        "least regret is compared with the notebook's on fresh seeds."
    ),
    searches={
        "best": Tuned(
            DEFAULT,
            {
                "loss": Categorical(("bce", "mse")),
                "activation": Categorical(("relu", "linear", "tanh", "sigmoid")),
                "optimizer": Categorical(("sgd", "adam")),
                "learning_rate": Float(1e-3, 10, log=True),
                "momentum": Float(0, 0.95, when=("optimizer", ("sgd",))),
                "depth": Int(1, 2),
                "width_1": Int(1, 16, log=True),
                "width_2": Int(1, 16, log=True, when=("depth", (2,))),
                "output_scale": Float(0.1, 10, log=True),
                "epochs": Int(100, 2000, log=True),
            },
            TRIALS,
            objectives=("regret", "cost"),
        )
    },
    fixed={"the notebook's": DEFAULT},
    contrasts=(Pair("best", "the notebook's", primary=True),),
    champion="best",
    order=90,
)

if __name__ == "__main__":
    experiment.main()
