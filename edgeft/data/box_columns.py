"""How the columns of a table of boxes are called, in lower case."""

from __future__ import annotations

from . import class_table

#: names of the columns of corners, in lower case, and whether the last two are sides
CORNERS = (
    (("xmin", "ymin", "xmax", "ymax"), False),
    (("x_min", "y_min", "x_max", "y_max"), False),
    (("x1", "y1", "x2", "y2"), False),
    (("left", "top", "right", "bottom"), False),
    (("x", "y", "w", "h"), True),
    (("bbox_x", "bbox_y", "bbox_width", "bbox_height"), True),
    (("x", "y", "width", "height"), True),
)
BOX = ("bbox", "box")
FILES = (*class_table.FILES, "imageid", "imagename", "frame")
LABELS = (*class_table.LABELS, "labelname", "class_name", "label_name", "classname", "object")
