"""What the learning halves of tasks share, in torch: their record, batches, augmentation, parameter groups.

A task's preprocessing, decoding and metric are numpy; its record names the module of its learning half, whose
`LEARNING` is a `Learning` (`Task.learning`).
"""

from .batches import Loader, Samples
from .record import Learning

__all__ = ["Learning", "Loader", "Samples"]
