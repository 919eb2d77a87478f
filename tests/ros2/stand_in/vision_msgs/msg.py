"""Stand-in for vision_msgs."""

from typing import ClassVar

from ros_fields import Message
from std_msgs.msg import Header


class ObjectHypothesis(Message):
    FIELDS: ClassVar = {"class_id": "string", "score": "float64"}


class Classification(Message):
    FIELDS: ClassVar = {"header": Header, "results": [ObjectHypothesis]}


class Point2D(Message):
    FIELDS: ClassVar = {"x": "float64", "y": "float64"}


class Pose2D(Message):
    FIELDS: ClassVar = {"position": Point2D, "theta": "float64"}


class BoundingBox2D(Message):
    FIELDS: ClassVar = {"center": Pose2D, "size_x": "float64", "size_y": "float64"}


class ObjectHypothesisWithPose(Message):
    FIELDS: ClassVar = {"hypothesis": ObjectHypothesis}


class Detection2D(Message):
    FIELDS: ClassVar = {"header": Header, "results": [ObjectHypothesisWithPose], "bbox": BoundingBox2D, "id": "string"}


class Detection2DArray(Message):
    FIELDS: ClassVar = {"header": Header, "detections": [Detection2D]}
