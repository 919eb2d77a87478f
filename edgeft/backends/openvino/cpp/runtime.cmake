# OpenVINO's C++ API. pip's package has headers, library and CMake files:
#   -DOpenVINO_DIR="$(python -c 'import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent / "cmake")')"
# So have the archives of its releases (runtime/cmake) and Debian-style packages of Intel's repository.
find_package(OpenVINO REQUIRED COMPONENTS Runtime)
add_library(runtime INTERFACE)
target_link_libraries(runtime INTERFACE openvino::runtime)
