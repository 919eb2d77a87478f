"""A text: std_msgs/String."""

from std_msgs.msg import String as Answer


def answer_of(decoded, header, least):
    """The text, or None where there is none."""
    return None if decoded["label"] is None else Answer(data=str(decoded["label"]))
