# ONNX Runtime's C API (Linux). Its headers and library are
#   -DONNXRUNTIME_ROOT=FOLDER          those of an unpacked release (include/, lib/), or
#   -DONNXRUNTIME_INCLUDE=FOLDER -DONNXRUNTIME_LIBRARY=FILE   named one by one: the library of pip's package onnxruntime will
#                                      do (capi/libonnxruntime.so.*), which brings no headers, or
#   -DDOWNLOAD_RUNTIME=ON              the release of RUNTIME_VERSION, downloaded from GitHub.
# Headers may be older than the library.
option(DOWNLOAD_RUNTIME "Download the release of ONNX Runtime" OFF)
if(DOWNLOAD_RUNTIME)
  include(FetchContent)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(machine aarch64)
  else()
    set(machine x64)
  endif()
  FetchContent_Declare(onnxruntime URL
    https://github.com/microsoft/onnxruntime/releases/download/v${RUNTIME_VERSION}/onnxruntime-linux-${machine}-${RUNTIME_VERSION}.tgz)
  FetchContent_MakeAvailable(onnxruntime)
  set(ONNXRUNTIME_ROOT ${onnxruntime_SOURCE_DIR})
endif()

find_path(ONNXRUNTIME_INCLUDE onnxruntime_c_api.h HINTS ${ONNXRUNTIME_ROOT}/include
  PATH_SUFFIXES onnxruntime onnxruntime/core/session)
find_library(ONNXRUNTIME_LIBRARY NAMES onnxruntime HINTS ${ONNXRUNTIME_ROOT}/lib)
if(NOT ONNXRUNTIME_INCLUDE OR NOT ONNXRUNTIME_LIBRARY)
  message(FATAL_ERROR "ONNX Runtime was not found: runtime.cmake lists three ways to name it")
endif()

# pip's library is called by its full version, and programs look for its soname.
file(CREATE_LINK ${ONNXRUNTIME_LIBRARY} ${CMAKE_BINARY_DIR}/libonnxruntime.so.1 SYMBOLIC)
add_library(runtime INTERFACE)
target_include_directories(runtime SYSTEM INTERFACE ${ONNXRUNTIME_INCLUDE})
target_link_libraries(runtime INTERFACE ${CMAKE_BINARY_DIR}/libonnxruntime.so.1)
set(CMAKE_BUILD_RPATH ${CMAKE_BINARY_DIR})
