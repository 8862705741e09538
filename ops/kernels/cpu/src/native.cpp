// Kernels for processors behind a plain C interface: which instruction set runs, how work is split.
// Work is cut into the same items whatever the number of threads, and partial sums are joined in
// the order of the items, so results do not depend on that number.

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <unistd.h>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define NASTK_X86 1
#endif

#include "common.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define NASTK_HAS_SHUFFLE 1
#endif
#endif

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
// Vectors pass between functions that are always inlined; their calling convention is moot.
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace nastk {

#ifdef NASTK_X86
// The n last of the first 8 entries select n lanes.
static const int32_t kTailMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

namespace avx512 {
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define LANES 16
#define REGISTERS 32
#define TAILS_AVX512
#include "isa.inc"
#undef TARGET
#undef LANES
#undef REGISTERS
#undef TAILS_AVX512
}  // namespace avx512

namespace avx2 {
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define REGISTERS 16
#define TAILS_AVX2
#include "isa.inc"
#undef TARGET
#undef LANES
#undef REGISTERS
#undef TAILS_AVX2
}  // namespace avx2
#endif

// What the compiler may use anyway: NEON on aarch64, four lanes of anything elsewhere.
namespace baseline {
#define TARGET
#define LANES 4
#ifdef __aarch64__
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#include "isa.inc"
#undef TARGET
#undef LANES
#undef REGISTERS
}  // namespace baseline

static const Table &table(int isa) {
#ifdef NASTK_X86
    if (isa == 2) return avx512::kTable;
    if (isa == 1) return avx2::kTable;
#endif
    (void)isa;
    return baseline::kTable;
}

#include "split.inc"
#include "reduce.inc"
#include "fold.inc"

}  // namespace nastk

#include "interface.inc"
