/* Read before every C++ file of llama.cpp (see lean.cmake). GCC's _tile_loadconfig tells the compiler of 8 of the 64 bytes
 * that the processor reads, so that GCC 12 leaves the others unwritten and the first use of AMX ends in a fault. */
#if defined(__AMX_TILE__)
#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
static inline __attribute__((always_inline)) void load_whole_tile_config(const void * config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64]) config));
}
#define _tile_loadconfig load_whole_tile_config
#endif

/* How Rapport knows a build in which AMX can be used (agent/llm/tiles.py). */
extern "C" __attribute__((weak, visibility("default"))) const int rapport_tiles = 1;
#endif
