# Read by CMake through CMAKE_PROJECT_INCLUDE while llama-cpp-python is compiled (see Makefile).

# The package forces LLAMA_BUILD_COMMON into the cache; a normal variable of the same name shadows it, and
# `common` serves only the command-line tools and multimodal handlers, which are never loaded here.
set(LLAMA_BUILD_COMMON OFF)

# AMX as GCC 12 would build it ends in a fault: see tiles.h.
if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include \"${CMAKE_CURRENT_LIST_DIR}/tiles.h\">")
endif()
