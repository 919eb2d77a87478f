# LiteRT's C API (Linux). pip's package ai-edge-litert has the library and no headers:
#   -DLITERT_INCLUDE=FOLDER    the folder that holds litert/c/*.h: an unpacked SDK of LiteRT, or its repository at the
#                              version of the library (of a repository litert/build_common/build_config.h is made here)
#   -DLITERT_LIBRARY=FILE      libLiteRt.so: $(python -c 'import ai_edge_litert as a; print(a.__path__[0])')/libLiteRt.so
find_path(LITERT_INCLUDE litert/c/litert_compiled_model.h)
find_library(LITERT_LIBRARY NAMES LiteRt)
if(NOT LITERT_INCLUDE OR NOT LITERT_LIBRARY)
  message(FATAL_ERROR "LiteRT was not found: runtime.cmake says how to name it")
endif()

add_library(runtime INTERFACE)
target_include_directories(runtime SYSTEM INTERFACE ${LITERT_INCLUDE})
target_link_libraries(runtime INTERFACE ${LITERT_LIBRARY})
if(NOT EXISTS ${LITERT_INCLUDE}/litert/build_common/build_config.h)
  file(WRITE ${CMAKE_BINARY_DIR}/litert_config/litert/build_common/build_config.h
    "#define LITERT_DISABLE_GPU\n#define LITERT_DISABLE_NPU\n")
  target_include_directories(runtime SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/litert_config)
endif()
