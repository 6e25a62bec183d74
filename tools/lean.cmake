# Read by CMake through CMAKE_PROJECT_INCLUDE while llama-cpp-python is compiled (see Makefile).

# The package forces LLAMA_BUILD_COMMON into the cache; a normal variable of the same name shadows it, and
# `common` serves only the command-line tools and multimodal handlers, which are never loaded here.
set(LLAMA_BUILD_COMMON OFF)

# Virtual machines may show AMX and then kill the process at the first tile instruction (seen on Sapphire Rapids
# under KVM: SIGSEGV at ldtilecfg), so the AMX kernels are left out; AVX2 and AVX-512 stay.
if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    add_compile_options(-U__AMX_INT8__)
endif()
