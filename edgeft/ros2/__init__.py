"""A bundle as a ROS 2 package (ament_python), to be built with colcon and changed by whoever owns the robot.

    package.py   writes the package: which parts it is joined from, its files, the bundle in it
    parts/       the code of the package, as it is written: node.py, an `input_*` and an `answer_*`

The package needs edgeft's board half and the bundle's runtime on the robot, no torch.
"""
