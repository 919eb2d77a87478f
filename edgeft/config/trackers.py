"""The trackers that `train.tracker` may name: those of the package accelerate, and what each of them installs."""

from __future__ import annotations

#: name -> the package that it imports
PACKAGES = {
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "comet_ml": "comet_ml",
    "aim": "aim",
    "clearml": "clearml",
    "dvclive": "dvclive",
    "swanlab": "swanlab",
    "trackio": "trackio",
}
#: extras of edgeft that install one; the others have pip's name
EXTRAS = {"tensorboard": "tune", "mlflow": "mlflow"}
