/* Internal: the few steps that differ between instruction sets, each under one name.
 *
 * Bytes are *plain* when they are from 0x0e to 0x7f: no line end, no NUL, only ASCII. One comparison finds that out.
 * A body of a kernel is written once, in terms of
 *   plain64(p)                   are these 64 bytes plain?
 *   masks64(p), masks16(p)       one bit for each byte, lowest address lowest bit: is it CR or LF; is it from 0x80 on?
 *   masks8x2(p, q)               masks of two times 8 bytes: those of q from bit 8 on
 *   copy64(to, p), copy16(to, p) copy these bytes; are they plain?
 *   look16(p)                    which kinds of bytes that are not plain are there, as sse_copy_line reports them?
 * with the suffix of its instruction set. The scalar set works on 8 bytes in a register and is always compiled.
 */
#ifndef FASTSSE_SIMD_H
#define FASTSSE_SIMD_H

#include <stdint.h>
#include <string.h>

#include "sse.h"

#if defined(__SSE2__) || defined(_M_X64)
#define SSE_HAVE_SSE2 1
#include <emmintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#define SSE_HAVE_NEON 1
#include <arm_neon.h>
#endif

#if (defined(__x86_64__) && defined(__GNUC__)) || defined(_M_X64)
#define SSE_HAVE_AVX2 1
#include <immintrin.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define SSE_AVX2_TARGET
#define SSE_INLINE static __forceinline
#define SSE_NOINLINE __declspec(noinline)
#define SSE_UNLIKELY(x) (x)
#else
#define SSE_AVX2_TARGET __attribute__((target("avx2")))
#define SSE_INLINE static inline __attribute__((always_inline))
#define SSE_NOINLINE __attribute__((noinline))
#define SSE_UNLIKELY(x) __builtin_expect(!!(x), 0)
#endif

typedef struct {
    uint64_t ends; /* CR or LF */
    uint64_t high; /* from 0x80 on */
} sse_masks;

/* The number of the lowest bit that is set; `bits` is not 0. */
SSE_INLINE unsigned sse_lowest(uint64_t bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long at;
#if defined(_M_X64) || defined(_M_ARM64)
    _BitScanForward64(&at, bits);
#else
    if (!_BitScanForward(&at, (unsigned long)bits)) {
        _BitScanForward(&at, (unsigned long)(bits >> 32));
        at += 32;
    }
#endif
    return (unsigned)at;
#else
    return (unsigned)__builtin_ctzll(bits);
#endif
}

/* Load little-endian: the lowest address is the lowest byte, on every machine. */
SSE_INLINE uint64_t sse_load64(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

SSE_INLINE uint32_t sse_load32(const unsigned char *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

SSE_INLINE void sse_store32(unsigned char *p, uint32_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    memcpy(p, &word, 4);
}

/* Load 1 to 7 bytes as a word, by loads that overlap instead of reading past the end. */
SSE_INLINE uint64_t sse_load_short(const unsigned char *p, size_t size)
{
    if (size >= 4) {
        return sse_load32(p) | (uint64_t)sse_load32(p + size - 4) << (8 * (size - 4));
    }
    return p[0] | (uint64_t)p[size >> 1] << (8 * (size >> 1)) | (uint64_t)p[size - 1] << (8 * (size - 1));
}

/* Eight bytes in a register. */

#define SSE_EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

/* The high bit of each byte of `word` that is 0, exactly. */
SSE_INLINE uint64_t sse_zeros(uint64_t word)
{
    return ~(((word & SSE_EACH(0x7f)) + SSE_EACH(0x7f)) | word | SSE_EACH(0x7f));
}

SSE_INLINE uint64_t sse_ends8(uint64_t word)
{
    return sse_zeros(word ^ SSE_EACH('\n')) | sse_zeros(word ^ SSE_EACH('\r'));
}

/* The high bits of eight bytes, gathered in the low eight bits. */
SSE_INLINE uint64_t sse_gather8(uint64_t word)
{
    return ((word & SSE_EACH(0x80)) * 0x0002040810204081u) >> 56;
}

SSE_INLINE sse_masks sse_masks8(uint64_t word)
{
    sse_masks masks;
    masks.ends = sse_gather8(sse_ends8(word));
    masks.high = sse_gather8(word);
    return masks;
}

SSE_INLINE sse_masks masks8x2_scalar(const unsigned char *p, const unsigned char *q)
{
    sse_masks low = sse_masks8(sse_load64(p)), high = sse_masks8(sse_load64(q));
    low.ends |= high.ends << 8;
    low.high |= high.high << 8;
    return low;
}

SSE_INLINE sse_masks masks16_scalar(const unsigned char *p)
{
    return masks8x2_scalar(p, p + 8);
}

/* The high bit of each byte of `word` that is not plain, exactly. */
SSE_INLINE uint64_t sse_other8(uint64_t word)
{
    return (word | ~((word & SSE_EACH(0x7f)) + SSE_EACH(0x80 - 0x0e))) & SSE_EACH(0x80);
}

SSE_INLINE int sse_look8(uint64_t word)
{
    return (sse_ends8(word) ? SSE_LINE_END : 0) | (sse_zeros(word) ? SSE_NUL : 0) |
           (word & SSE_EACH(0x80) ? SSE_NOT_ASCII : 0);
}

SSE_INLINE int plain64_scalar(const unsigned char *p)
{
    uint64_t other = 0;
    for (unsigned i = 0; i < 64; i += 8) {
        other |= sse_other8(sse_load64(p + i));
    }
    return other == 0;
}

SSE_INLINE sse_masks masks64_scalar(const unsigned char *p)
{
    sse_masks masks = {0, 0};
    for (unsigned i = 0; i < 64; i += 16) {
        sse_masks part = masks16_scalar(p + i);
        masks.ends |= part.ends << i;
        masks.high |= part.high << i;
    }
    return masks;
}

SSE_INLINE int look16_scalar(const unsigned char *p)
{
    return sse_look8(sse_load64(p)) | sse_look8(sse_load64(p + 8));
}

SSE_INLINE int copy16_scalar(unsigned char *to, const unsigned char *p)
{
    const int plain = (sse_other8(sse_load64(p)) | sse_other8(sse_load64(p + 8))) == 0;
    memcpy(to, p, 16);
    return plain;
}

SSE_INLINE int copy64_scalar(unsigned char *to, const unsigned char *p)
{
    const int plain = plain64_scalar(p);
    memcpy(to, p, 64);
    return plain;
}

/* Sixteen bytes: SSE2. */

#ifdef SSE_HAVE_SSE2

SSE_INLINE __m128i load_sse2(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

SSE_INLINE void store_sse2(void *p, __m128i bytes)
{
    _mm_storeu_si128((__m128i *)p, bytes);
}

SSE_INLINE __m128i ends_sse2(__m128i bytes)
{
    return _mm_or_si128(
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
}

SSE_INLINE uint64_t gather_sse2(__m128i bytes)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(bytes);
}

SSE_INLINE sse_masks masks_sse2(__m128i bytes)
{
    sse_masks masks;
    masks.ends = gather_sse2(ends_sse2(bytes));
    masks.high = gather_sse2(bytes);
    return masks;
}

SSE_INLINE sse_masks masks16_sse2(const unsigned char *p)
{
    return masks_sse2(load_sse2(p));
}

SSE_INLINE sse_masks masks8x2_sse2(const unsigned char *p, const unsigned char *q)
{
    return masks_sse2(_mm_unpacklo_epi64(
        _mm_loadl_epi64((const __m128i *)(const void *)p), _mm_loadl_epi64((const __m128i *)(const void *)q)));
}

/* Mark the bytes that are not plain. As signed numbers, bytes from 0x80 on are below 0x0e too. */
SSE_INLINE __m128i other_sse2(__m128i bytes)
{
    return _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x0e));
}

SSE_INLINE int plain64_sse2(const unsigned char *p)
{
    __m128i a = other_sse2(load_sse2(p)), b = other_sse2(load_sse2(p + 16));
    __m128i c = other_sse2(load_sse2(p + 32)), d = other_sse2(load_sse2(p + 48));
    return gather_sse2(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) == 0;
}

SSE_INLINE sse_masks masks64_sse2(const unsigned char *p)
{
    __m128i a = load_sse2(p), b = load_sse2(p + 16), c = load_sse2(p + 32), d = load_sse2(p + 48);
    sse_masks masks;
    masks.ends = gather_sse2(ends_sse2(a)) | gather_sse2(ends_sse2(b)) << 16 |
                 gather_sse2(ends_sse2(c)) << 32 | gather_sse2(ends_sse2(d)) << 48;
    masks.high = gather_sse2(a) | gather_sse2(b) << 16 | gather_sse2(c) << 32 | gather_sse2(d) << 48;
    return masks;
}

SSE_INLINE int look16_sse2(const unsigned char *p)
{
    const __m128i bytes = load_sse2(p);
    return (gather_sse2(ends_sse2(bytes)) ? SSE_LINE_END : 0) |
           (gather_sse2(_mm_cmpeq_epi8(bytes, _mm_setzero_si128())) ? SSE_NUL : 0) |
           (gather_sse2(bytes) ? SSE_NOT_ASCII : 0);
}

SSE_INLINE int copy16_sse2(unsigned char *to, const unsigned char *p)
{
    const __m128i bytes = load_sse2(p);
    store_sse2(to, bytes);
    return gather_sse2(other_sse2(bytes)) == 0;
}

SSE_INLINE int copy64_sse2(unsigned char *to, const unsigned char *p)
{
    __m128i a = load_sse2(p), b = load_sse2(p + 16), c = load_sse2(p + 32), d = load_sse2(p + 48);
    store_sse2(to, a);
    store_sse2(to + 16, b);
    store_sse2(to + 32, c);
    store_sse2(to + 48, d);
    a = _mm_or_si128(other_sse2(a), other_sse2(b));
    c = _mm_or_si128(other_sse2(c), other_sse2(d));
    return gather_sse2(_mm_or_si128(a, c)) == 0;
}

#endif

/* Thirty-two bytes: AVX2, on machines that have it. */

#ifdef SSE_HAVE_AVX2

#if defined(_MSC_VER) && !defined(__clang__)
#define SSE_INLINE_AVX2 static __forceinline
#else
#define SSE_INLINE_AVX2 static inline __attribute__((always_inline, target("avx2")))
#endif

SSE_INLINE_AVX2 __m256i load_avx2(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

SSE_INLINE_AVX2 __m256i ends_avx2(__m256i bytes)
{
    return _mm256_or_si256(
        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\n')), _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\r')));
}

SSE_INLINE_AVX2 uint64_t gather_avx2(__m256i bytes)
{
    return (uint64_t)(unsigned)_mm256_movemask_epi8(bytes);
}

SSE_INLINE_AVX2 __m256i other_avx2(__m256i bytes)
{
    return _mm256_cmpgt_epi8(_mm256_set1_epi8(0x0e), bytes);
}

SSE_INLINE_AVX2 int plain64_avx2(const unsigned char *p)
{
    return gather_avx2(_mm256_or_si256(other_avx2(load_avx2(p)), other_avx2(load_avx2(p + 32)))) == 0;
}

SSE_INLINE_AVX2 sse_masks masks64_avx2(const unsigned char *p)
{
    __m256i a = load_avx2(p), b = load_avx2(p + 32);
    sse_masks masks;
    masks.ends = gather_avx2(ends_avx2(a)) | gather_avx2(ends_avx2(b)) << 32;
    masks.high = gather_avx2(a) | gather_avx2(b) << 32;
    return masks;
}

SSE_INLINE_AVX2 int copy64_avx2(unsigned char *to, const unsigned char *p)
{
    const __m256i a = load_avx2(p), b = load_avx2(p + 32);
    _mm256_storeu_si256((__m256i *)(void *)to, a);
    _mm256_storeu_si256((__m256i *)(void *)(to + 32), b);
    return gather_avx2(_mm256_or_si256(other_avx2(a), other_avx2(b))) == 0;
}

#define look16_avx2 look16_sse2
#define masks16_avx2 masks16_sse2
#define masks8x2_avx2 masks8x2_sse2
#define copy16_avx2 copy16_sse2

#endif

/* Sixteen bytes: NEON. */

#ifdef SSE_HAVE_NEON

SSE_INLINE uint8x16_t ends_neon(uint8x16_t bytes)
{
    return vorrq_u8(vceqq_u8(bytes, vdupq_n_u8('\n')), vceqq_u8(bytes, vdupq_n_u8('\r')));
}

SSE_INLINE uint8x16_t high_neon(uint8x16_t bytes)
{
    return vcgeq_u8(bytes, vdupq_n_u8(0x80));
}

/* Gather one bit for each byte: keep a different bit of each of eight bytes, then add neighbours three times. */
SSE_INLINE uint64_t gather64_neon(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    static const uint8_t each[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bit = vld1q_u8(each);
    uint8x16_t ab = vpaddq_u8(vandq_u8(a, bit), vandq_u8(b, bit));
    uint8x16_t cd = vpaddq_u8(vandq_u8(c, bit), vandq_u8(d, bit));
    uint8x16_t all = vpaddq_u8(ab, cd);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

SSE_INLINE sse_masks masks_neon(uint8x16_t bytes)
{
    const uint8x16_t none = vdupq_n_u8(0);
    sse_masks masks;
    masks.ends = gather64_neon(ends_neon(bytes), none, none, none);
    masks.high = gather64_neon(high_neon(bytes), none, none, none);
    return masks;
}

SSE_INLINE sse_masks masks16_neon(const unsigned char *p)
{
    return masks_neon(vld1q_u8(p));
}

SSE_INLINE sse_masks masks8x2_neon(const unsigned char *p, const unsigned char *q)
{
    return masks_neon(vcombine_u8(vld1_u8(p), vld1_u8(q)));
}

SSE_INLINE int8x16_t signed_neon(const unsigned char *p)
{
    return vreinterpretq_s8_u8(vld1q_u8(p));
}

SSE_INLINE int plain64_neon(const unsigned char *p)
{
    const int8x16_t ab = vminq_s8(signed_neon(p), signed_neon(p + 16));
    const int8x16_t cd = vminq_s8(signed_neon(p + 32), signed_neon(p + 48));
    return vminvq_s8(vminq_s8(ab, cd)) >= 0x0e;
}

SSE_INLINE sse_masks masks64_neon(const unsigned char *p)
{
    uint8x16_t a = vld1q_u8(p), b = vld1q_u8(p + 16), c = vld1q_u8(p + 32), d = vld1q_u8(p + 48);
    sse_masks masks;
    masks.ends = gather64_neon(ends_neon(a), ends_neon(b), ends_neon(c), ends_neon(d));
    masks.high = gather64_neon(high_neon(a), high_neon(b), high_neon(c), high_neon(d));
    return masks;
}

SSE_INLINE int look16_neon(const unsigned char *p)
{
    const uint8x16_t bytes = vld1q_u8(p);
    return (vmaxvq_u8(ends_neon(bytes)) ? SSE_LINE_END : 0) | (vminvq_u8(bytes) == 0 ? SSE_NUL : 0) |
           (vmaxvq_u8(bytes) >= 0x80 ? SSE_NOT_ASCII : 0);
}

SSE_INLINE int copy16_neon(unsigned char *to, const unsigned char *p)
{
    const int plain = vminvq_s8(signed_neon(p)) >= 0x0e;
    vst1q_u8(to, vld1q_u8(p));
    return plain;
}

SSE_INLINE int copy64_neon(unsigned char *to, const unsigned char *p)
{
    const uint8x16_t a = vld1q_u8(p), b = vld1q_u8(p + 16), c = vld1q_u8(p + 32), d = vld1q_u8(p + 48);
    const int8x16_t ab = vminq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b));
    const int8x16_t cd = vminq_s8(vreinterpretq_s8_u8(c), vreinterpretq_s8_u8(d));
    vst1q_u8(to, a);
    vst1q_u8(to + 16, b);
    vst1q_u8(to + 32, c);
    vst1q_u8(to + 48, d);
    return vminvq_s8(vminq_s8(ab, cd)) >= 0x0e;
}

#endif

#endif
