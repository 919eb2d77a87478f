"""Quality of service."""

import enum
from dataclasses import dataclass


class ReliabilityPolicy(enum.Enum):
    RELIABLE, BEST_EFFORT = 1, 2


@dataclass
class QoSProfile:
    depth: int = 10
    reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE
