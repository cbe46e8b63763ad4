"""The course notebook's one network, on hundreds of seeds."""

from qwerties import DEFAULT, Experiment, Figure

experiment = Experiment(
    title="The notebook's network, looked at closely",
    question=(
        "The notebook trains one 2-1-1 network once and reports one number. What does pressing *Run* give on other "
        "seeds: how often does the network learn, and how often is it dead or stuck? And if one trains several and "
        "keeps the one of least training loss?"
    ),
    configs=(DEFAULT,),
    figures=(Figure("outcomes"), Figure("losses"), Figure("retraining")),
    order=10,
)

if __name__ == "__main__":
    experiment.main()
