/* The bodies of the kernels in bodies.h, one for each instruction set, and the choice among them.
 *
 * Every x86-64 has SSE2 and every 64-bit ARM has NEON. AVX2 is taken when the processor has it and the operating
 * system saves its registers. CPUID and XGETBV are called directly, because the compiler's own test needs a run-time
 * library that a shared object does not always get.
 */

#include "choose.h"
#include "simd.h"

#define SSE_SET scalar
#define SSE_TARGET
#include "bodies.h"

#ifdef SSE_HAVE_SSE2
#define SSE_SET sse2
#define SSE_TARGET
#include "bodies.h"
#endif

#ifdef SSE_HAVE_NEON
#define SSE_SET neon
#define SSE_TARGET
#include "bodies.h"
#endif

#ifdef SSE_HAVE_AVX2

#define SSE_SET avx2
#define SSE_TARGET SSE_AVX2_TARGET
#include "bodies.h"

#if defined(_MSC_VER) && !defined(__clang__)

static void cpuid(unsigned leaf, unsigned *ebx, unsigned *ecx)
{
    int registers[4];
    __cpuidex(registers, (int)leaf, 0);
    *ebx = (unsigned)registers[1];
    *ecx = (unsigned)registers[2];
}

static unsigned highest_leaf(void)
{
    int registers[4];
    __cpuid(registers, 0);
    return (unsigned)registers[0];
}

static uint64_t saved_state(void)
{
    return _xgetbv(0);
}

#else

#include <cpuid.h>

static void cpuid(unsigned leaf, unsigned *ebx, unsigned *ecx)
{
    unsigned eax, edx;
    __cpuid_count(leaf, 0, eax, *ebx, *ecx, edx);
    (void)eax;
    (void)edx;
}

static unsigned highest_leaf(void)
{
    return (unsigned)__get_cpuid_max(0, NULL);
}

static uint64_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

#endif

static int has_avx2(void)
{
    const unsigned osxsave = 1u << 27, avx = 1u << 28, avx2 = 1u << 5;
    const uint64_t xmm_and_ymm = 6;
    unsigned ebx, ecx;
    if (highest_leaf() < 7) {
        return 0;
    }
    cpuid(1, &ebx, &ecx);
    if ((ecx & osxsave) == 0 || (ecx & avx) == 0 || (saved_state() & xmm_and_ymm) != xmm_and_ymm) {
        return 0;
    }
    cpuid(7, &ebx, &ecx);
    return (ebx & avx2) != 0;
}

#endif

static const sse_body bodies[] = {
    {"scalar", sse_split_scalar, sse_copy_long_scalar, sse_copy_large_scalar},
#ifdef SSE_HAVE_SSE2
    {"sse2", sse_split_sse2, sse_copy_long_sse2, sse_copy_large_sse2},
#endif
#ifdef SSE_HAVE_NEON
    {"neon", sse_split_neon, sse_copy_long_neon, sse_copy_large_neon},
#endif
#ifdef SSE_HAVE_AVX2
    {"avx2", sse_split_avx2, sse_copy_long_avx2, sse_copy_large_avx2},
#endif
};

#if defined(SSE_HAVE_SSE2)
size_t (*sse_split)(sse_scan *, sse_line *) = sse_split_sse2;
int (*sse_copy_long)(unsigned char *, const unsigned char *, size_t) = sse_copy_long_sse2;
void (*sse_copy_large)(unsigned char *, const unsigned char *, size_t) = sse_copy_large_sse2;
#elif defined(SSE_HAVE_NEON)
size_t (*sse_split)(sse_scan *, sse_line *) = sse_split_neon;
int (*sse_copy_long)(unsigned char *, const unsigned char *, size_t) = sse_copy_long_neon;
void (*sse_copy_large)(unsigned char *, const unsigned char *, size_t) = sse_copy_large_neon;
#else
size_t (*sse_split)(sse_scan *, sse_line *) = sse_split_scalar;
int (*sse_copy_long)(unsigned char *, const unsigned char *, size_t) = sse_copy_long_scalar;
void (*sse_copy_large)(unsigned char *, const unsigned char *, size_t) = sse_copy_large_scalar;
#endif

const sse_body *sse_bodies(size_t *count)
{
    *count = sizeof bodies / sizeof bodies[0];
#ifdef SSE_HAVE_AVX2
    if (!has_avx2()) {
        *count -= 1;
    }
#endif
    return bodies;
}

const char *sse_choose(void)
{
    size_t count;
    const sse_body *best = sse_bodies(&count) + count - 1;
    sse_split = best->split;
    sse_copy_long = best->copy_long;
    sse_copy_large = best->copy_large;
    return best->name;
}
