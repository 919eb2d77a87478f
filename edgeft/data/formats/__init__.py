"""The data formats that come with edgeft: a file each, with the function that opens it and its record `FORMAT`.

`edgeft.plugins.DATA_FORMATS` lists them by the names of these files and loads one when it is asked for.
"""
