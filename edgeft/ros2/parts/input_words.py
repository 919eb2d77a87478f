"""Words: std_msgs/String, as they stand behind `edgeft predict BUNDLE`. No file is opened by them."""

from std_msgs.msg import String as Input


def raw_of(message, spec):
    """The words; the node gives them to the task."""
    return str(message.data)


def message_of(raw, spec):
    """The message of words."""
    return Input(data=str(raw))


def header_of(message):
    """None: such a message has no header."""
    return
