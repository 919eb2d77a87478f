"""Boxes: vision_msgs/Detection2DArray, in pixels of the picture that came."""

from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose
from vision_msgs.msg import Detection2DArray as Answer


def answer_of(decoded, header, least):
    """The boxes of at least the score `least`."""
    message = Answer()
    if header is not None:
        message.header = header
    message.detections = [_detection(each, message.header) for each in decoded["boxes"] if each["score"] >= least]
    return message


def _detection(each, header):
    left, top, right, bottom = each["box"]
    message = Detection2D(header=header)
    message.bbox.center.position.x = (left + right) / 2
    message.bbox.center.position.y = (top + bottom) / 2
    message.bbox.size_x, message.bbox.size_y = float(right - left), float(bottom - top)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = str(each["label"]), float(each["score"])
    message.results = [result]

    return message
