"""A bundle as a C++17 program: a CMake project that runs the model and proves itself on the bundle's samples.

project.py   writes the project
parts/       the code that all runtimes share; that of a runtime stands in `cpp/` of its package (`Backend.cpp`)
"""
