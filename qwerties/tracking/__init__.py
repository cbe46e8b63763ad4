"""Records -> MLflow runs, and back: the only door to MLflow, which is set up here before it is imported.

Public: `store.Store`; `records` (what is written and read), `tags` (their names), `uri` (where a store is), `arrays`
(arrays of a file that anybody may have written), `models` (the registry), `server` (MLflow's UI). Nothing here trains,
draws or decides what is missing.
"""

import logging
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # a write that fails in a thread of its own is lost
os.environ.pop("MLFLOW_ACTIVE_MODEL_ID", None)  # metrics would belong to that model, too
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for each file of a server
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run of a server

logging.getLogger("alembic").setLevel(logging.WARNING)  # set-up of a new database
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # likewise; errors are raised as well
logging.getLogger("mlflow.store.model_registry").setLevel(logging.WARNING)  # "waiting for the server"
