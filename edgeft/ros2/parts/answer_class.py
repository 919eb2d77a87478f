"""Classes: vision_msgs/Classification, best first."""

from vision_msgs.msg import Classification as Answer
from vision_msgs.msg import ObjectHypothesis


def answer_of(decoded, header, least):
    """The classes of at least the score `least`."""
    message = Answer()
    if header is not None:
        message.header = header

    message.results = [
        ObjectHypothesis(class_id=str(each["label"]), score=float(each["confidence"]))
        for each in decoded["top"]
        if each["confidence"] >= least
    ]

    return message
