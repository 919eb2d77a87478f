"""Arrays: std_msgs/Float64MultiArray, the values of all outputs behind each other; the label of dim[0] names them.

One output has its shape in the layout. Several are one row there, and each one's shape stands behind its name.
"""

import numpy as np
from std_msgs.msg import Float64MultiArray as Answer
from std_msgs.msg import MultiArrayDimension, MultiArrayLayout

PREFIX = "array:"


def answer_of(decoded, header, least):
    """The values, or None where one of them is not finite: nothing is published then."""
    arrays = {key[len(PREFIX) :]: np.asarray(value) for key, value in decoded.items() if key.startswith(PREFIX)}
    values = np.concatenate([np.ravel(array) for array in arrays.values()])
    if not np.isfinite(values).all():
        return None

    label = ",".join(f"{name}[{'x'.join(map(str, array.shape))}]" for name, array in arrays.items())
    shape = next(iter(arrays.values())).shape if len(arrays) == 1 else (len(values),)
    dim = [
        MultiArrayDimension(label="" if axis else label, size=side, stride=int(np.prod(shape[axis:])))
        for axis, side in enumerate(shape)
    ]

    return Answer(layout=MultiArrayLayout(dim=dim), data=[float(value) for value in values])
