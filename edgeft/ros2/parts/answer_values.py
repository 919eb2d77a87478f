"""Values with names: std_msgs/Float64MultiArray in the order of the bundle's labels; the label of dim[0] names them."""

from std_msgs.msg import Float64MultiArray as Answer
from std_msgs.msg import MultiArrayDimension, MultiArrayLayout


def answer_of(decoded, header, least):
    """The values, or None where one of them is undecided: nothing is published then."""
    values = decoded["controls"]
    if any(value is None for value in values.values()):
        return None
    dimension = MultiArrayDimension(label=",".join(values), size=len(values), stride=len(values))
    return Answer(layout=MultiArrayLayout(dim=[dimension]), data=[float(value) for value in values.values()])
