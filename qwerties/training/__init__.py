"""Seeds and configs -> trained networks, many at once.

Public: `trainer.train`, `networks` (activations, losses, initial weights), `optimizers`, `data` (the clusters),
`reference.train_reference` (the notebook's loop, one network at a time). Nothing here scores, draws or stores.
"""

from qwerties.config import CHOICES
from qwerties.training.data import ARRANGEMENTS
from qwerties.training.networks import ACTIVATIONS, LOSSES
from qwerties.training.optimizers import OPTIMIZERS

# `Config` accepts what has an entry, now and later: the keys are live views of the tables
CHOICES["data"] = ARRANGEMENTS.keys()
CHOICES["loss"] = LOSSES.keys()
CHOICES["activation"] = ACTIVATIONS.keys()
CHOICES["optimizer"] = OPTIMIZERS.keys()
