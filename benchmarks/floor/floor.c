/* The floor: how fast CPython lets an event stream be read and written.
 *
 * Written by hand against the CPython API, for measuring only: no size limits, no comment callback, none of the type
 * checks that callers need, and one state per process. The scratch buffers and the pool of events are global to the
 * file, which the product may not do, so the floor needs the GIL. The build is for the x86-64 processor at hand: with
 * AVX2 where that has it, otherwise with SSE2.
 *
 * These make the floor fast, the largest saving first:
 *   - one pass of 64-byte masks answers LF, CR and "not ASCII" at once; lines are bits;
 *   - an event is a type of its own: no GC, four member slots, taken from a pool;
 *   - the result list is made once, at its final size;
 *   - text that is ASCII is copied; other text is counted, then written once in its final kind;
 *   - the encoder copies while it looks for line ends, into bytes of the exact size, and starts over if it meets one.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NEVER_INLINE static __attribute__((noinline))

enum { POOL = 256, NAME_CACHE = 64 };

static const uint64_t MAX_RETRY = INT64_MAX;

/* ---- bytes ------------------------------------------------------------------------------------------------ */

ALWAYS_INLINE uint32_t load32(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

ALWAYS_INLINE __m128i load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
ALWAYS_INLINE void store(void *p, __m128i v) { _mm_storeu_si128((__m128i *)p, v); }

/* memcpy, without its call where the text is a line, and without "rep movsb", which is counted byte by byte. */
ALWAYS_INLINE void copy(uint8_t *out, const uint8_t *p, size_t n)
{
#ifdef __AVX2__
    if (n >= 32 && n <= 1024) {
        for (size_t i = 0; i + 32 <= n; i += 32)
            _mm256_storeu_si256((__m256i *)(out + i), _mm256_loadu_si256((const __m256i *)(p + i)));
        _mm256_storeu_si256((__m256i *)(out + n - 32), _mm256_loadu_si256((const __m256i *)(p + n - 32)));
        return;
    }
    if (n > 1024) {
        for (size_t i = 0; i + 128 <= n; i += 128)
            for (size_t j = i; j < i + 128; j += 32)
                _mm256_storeu_si256((__m256i *)(out + j), _mm256_loadu_si256((const __m256i *)(p + j)));
        for (size_t j = n - 128; j < n; j += 32)
            _mm256_storeu_si256((__m256i *)(out + j), _mm256_loadu_si256((const __m256i *)(p + j)));
        return;
    }
#endif
    if (n >= 16 && n <= 128) {
        for (size_t i = 0; i + 16 <= n; i += 16)
            store(out + i, load(p + i));
        store(out + n - 16, load(p + n - 16));
    } else {
        memcpy(out, p, n);
    }
}

typedef struct {
    uint8_t *at;
    size_t size, room;
} Bytes;

/* Make room for `more` bytes after the filled ones. */
ALWAYS_INLINE int reserve(Bytes *b, size_t more)
{
    if (LIKELY(b->room - b->size >= more))
        return 0;
    size_t room = b->room * 2 + more + 256;
    uint8_t *at = PyMem_Realloc(b->at, room);
    if (at == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    b->at = at;
    b->room = room;
    return 0;
}

static int append(Bytes *b, const void *p, size_t n)
{
    if (reserve(b, n) < 0)
        return -1;
    copy(b->at + b->size, p, n);
    b->size += n;
    return 0;
}

typedef struct {
    uint64_t lf, cr, high; /* one bit a byte: line feed, carriage return, not ASCII */
} Masks;

ALWAYS_INLINE void mask16(Masks *m, __m128i v, unsigned shift)
{
    m->lf |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n'))) << shift;
    m->cr |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r'))) << shift;
    m->high |= (uint64_t)(uint32_t)_mm_movemask_epi8(v) << shift;
}

/* Most blocks have line feeds alone: what is rare is asked for once, and looked for when it is there.
 * A block is plain when it is ASCII with nothing below 0x0E, among which LF and CR are: one signed compare. */
#ifdef __AVX2__
ALWAYS_INLINE __m256i wide(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

ALWAYS_INLINE uint64_t bits64(__m256i a, __m256i b)
{
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(a) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32;
}

ALWAYS_INLINE Masks masks64(const uint8_t *p)
{
    const __m256i lf = _mm256_set1_epi8('\n'), cr = _mm256_set1_epi8('\r');
    __m256i a = wide(p), b = wide(p + 32);
    __m256i ra = _mm256_cmpeq_epi8(a, cr), rb = _mm256_cmpeq_epi8(b, cr);
    __m256i rare = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(ra, rb));
    Masks m = {bits64(_mm256_cmpeq_epi8(a, lf), _mm256_cmpeq_epi8(b, lf)), 0, 0};
    if (_mm256_movemask_epi8(rare)) {
        m.cr = bits64(ra, rb);
        m.high = bits64(a, b);
    }
    return m;
}

ALWAYS_INLINE int is_plain64(const uint8_t *p)
{
    const __m256i edge = _mm256_set1_epi8(0x0E);
    __m256i low = _mm256_or_si256(_mm256_cmpgt_epi8(edge, wide(p)), _mm256_cmpgt_epi8(edge, wide(p + 32)));
    return _mm256_testz_si256(low, low);
}
#else
ALWAYS_INLINE uint64_t bits64(__m128i a, __m128i b, __m128i c, __m128i d)
{
    return (uint64_t)(uint32_t)_mm_movemask_epi8(a) | (uint64_t)(uint32_t)_mm_movemask_epi8(b) << 16
         | (uint64_t)(uint32_t)_mm_movemask_epi8(c) << 32 | (uint64_t)(uint32_t)_mm_movemask_epi8(d) << 48;
}

ALWAYS_INLINE __m128i any64(__m128i a, __m128i b, __m128i c, __m128i d)
{
    return _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
}

ALWAYS_INLINE Masks masks64(const uint8_t *p)
{
    const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
    __m128i a = load(p), b = load(p + 16), c = load(p + 32), d = load(p + 48);
    __m128i ra = _mm_cmpeq_epi8(a, cr), rb = _mm_cmpeq_epi8(b, cr), rc = _mm_cmpeq_epi8(c, cr), rd = _mm_cmpeq_epi8(d, cr);
    Masks m = {0, 0, 0};
    m.lf = bits64(_mm_cmpeq_epi8(a, lf), _mm_cmpeq_epi8(b, lf), _mm_cmpeq_epi8(c, lf), _mm_cmpeq_epi8(d, lf));
    if (_mm_movemask_epi8(_mm_or_si128(any64(ra, rb, rc, rd), any64(a, b, c, d)))) {
        m.cr = bits64(ra, rb, rc, rd);
        m.high = bits64(a, b, c, d);
    }
    return m;
}

ALWAYS_INLINE int is_plain64(const uint8_t *p)
{
    const __m128i edge = _mm_set1_epi8(0x0E);
    return _mm_movemask_epi8(any64(
               _mm_cmplt_epi8(load(p), edge), _mm_cmplt_epi8(load(p + 16), edge),
               _mm_cmplt_epi8(load(p + 32), edge), _mm_cmplt_epi8(load(p + 48), edge)))
        == 0;
}
#endif

/* Fewer than 64 bytes, with loads that overlap instead of a padded copy. */
ALWAYS_INLINE Masks masks_short(const uint8_t *p, size_t n)
{
    Masks m = {0, 0, 0};
    if (n >= 16) {
        size_t i = 0;
        for (; i + 16 <= n; i += 16)
            mask16(&m, load(p + i), (unsigned)i);
        if (i < n)
            mask16(&m, load(p + n - 16), (unsigned)(n - 16));
    } else if (n >= 8) {
        mask16(&m, _mm_loadl_epi64((const __m128i *)p), 0);
        mask16(&m, _mm_loadl_epi64((const __m128i *)(p + n - 8)), (unsigned)(n - 8));
    } else if (n >= 4) {
        mask16(&m, _mm_cvtsi32_si128((int)load32(p)), 0);
        mask16(&m, _mm_cvtsi32_si128((int)load32(p + n - 4)), (unsigned)(n - 4));
    } else {
        for (size_t i = 0; i < n; i++) {
            m.lf |= (uint64_t)(p[i] == '\n') << i;
            m.cr |= (uint64_t)(p[i] == '\r') << i;
            m.high |= (uint64_t)(p[i] >> 7) << i;
        }
    }
    return m;
}

/* ---- UTF-8 to str ----------------------------------------------------------------------------------------- */

static const uint8_t KEEP_LAST[32] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
};

typedef struct {
    size_t points; /* bytes that begin a code point, if the text is valid */
    uint8_t top;   /* the greatest byte: it decides the kind */
} Measure;

static Measure measure(const uint8_t *p, size_t n)
{
    Measure m = {0, 0};
    size_t inner = 0; /* continuation bytes: -128 to -65 */
    if (n < 16) {
        for (size_t i = 0; i < n; i++) {
            inner += (int8_t)p[i] < -64;
            m.top = p[i] > m.top ? p[i] : m.top;
        }
        m.points = n - inner;
        return m;
    }
    const __m128i edge = _mm_set1_epi8(-64);
    __m128i top = _mm_setzero_si128(), sums = top;
    size_t i = 0;
    while (i + 16 <= n) {
        __m128i counts = _mm_setzero_si128();
        size_t stop = n - i > 254 * 16 ? i + 254 * 16 : n;
        for (; i + 16 <= stop; i += 16) {
            __m128i v = load(p + i);
            top = _mm_max_epu8(top, v);
            counts = _mm_sub_epi8(counts, _mm_cmplt_epi8(v, edge));
        }
        sums = _mm_add_epi64(sums, _mm_sad_epu8(counts, _mm_setzero_si128()));
    }
    if (i < n) {
        __m128i v = _mm_and_si128(load(p + n - 16), load(KEEP_LAST + (n - i)));
        top = _mm_max_epu8(top, v);
        __m128i count = _mm_sub_epi8(_mm_setzero_si128(), _mm_cmplt_epi8(v, edge));
        sums = _mm_add_epi64(sums, _mm_sad_epu8(count, _mm_setzero_si128()));
    }
    sums = _mm_add_epi64(sums, _mm_srli_si128(sums, 8));
    inner = (size_t)_mm_cvtsi128_si64(sums);
    top = _mm_max_epu8(top, _mm_srli_si128(top, 8));
    top = _mm_max_epu8(top, _mm_srli_si128(top, 4));
    top = _mm_max_epu8(top, _mm_srli_si128(top, 2));
    top = _mm_max_epu8(top, _mm_srli_si128(top, 1));
    m.top = (uint8_t)_mm_cvtsi128_si32(top);
    m.points = n - inner;
    return m;
}

ALWAYS_INLINE void put(void *out, int kind, uint32_t c)
{
    if (kind == 1)
        *(uint8_t *)out = (uint8_t)c;
    else if (kind == 2)
        *(uint16_t *)out = (uint16_t)c;
    else
        *(uint32_t *)out = c;
}

ALWAYS_INLINE void put16(uint8_t *out, int kind, __m128i v)
{
    const __m128i zero = _mm_setzero_si128();
    if (kind == 1) {
        store(out, v);
        return;
    }
    __m128i low = _mm_unpacklo_epi8(v, zero), high = _mm_unpackhi_epi8(v, zero);
    if (kind == 2) {
        store(out, low);
        store(out + 16, high);
        return;
    }
    store(out, _mm_unpacklo_epi16(low, zero));
    store(out + 16, _mm_unpackhi_epi16(low, zero));
    store(out + 32, _mm_unpacklo_epi16(high, zero));
    store(out + 48, _mm_unpackhi_epi16(high, zero));
}

/* Two-byte sequences, up to eight at once: writes eight, returns how many of them count. */
ALWAYS_INLINE unsigned put_pairs(uint8_t *out, int kind, const uint8_t *p)
{
    __m128i v = load(p);
    __m128i shape = _mm_cmpeq_epi16(_mm_and_si128(v, _mm_set1_epi16((short)0xC0E0)), _mm_set1_epi16((short)0x80C0));
    __m128i points = _mm_or_si128(
        _mm_slli_epi16(_mm_and_si128(v, _mm_set1_epi16(0x1F)), 6),
        _mm_and_si128(_mm_srli_epi16(v, 8), _mm_set1_epi16(0x3F)));
    __m128i good = _mm_and_si128(shape, _mm_cmpgt_epi16(points, _mm_set1_epi16(0x7F)));
    unsigned run = (unsigned)__builtin_ctz(~(uint32_t)_mm_movemask_epi8(good)) / 2;
    if (kind == 1) {
        _mm_storel_epi64((__m128i *)out, _mm_packus_epi16(points, points));
    } else if (kind == 2) {
        store(out, points);
    } else {
        store(out, _mm_unpacklo_epi16(points, _mm_setzero_si128()));
        store(out + 16, _mm_unpackhi_epi16(points, _mm_setzero_si128()));
    }
    return run;
}

/* One sequence that is not ASCII, or 0 where it is not valid. */
ALWAYS_INLINE unsigned sequence(const uint8_t *p, size_t left, uint32_t *point)
{
    uint8_t lead = p[0];
    if (lead < 0xE0) {
        if (left < 2 || lead < 0xC2 || (p[1] & 0xC0) != 0x80)
            return 0;
        *point = (uint32_t)(lead & 0x1F) << 6 | (p[1] & 0x3F);
        return 2;
    }
    if (lead < 0xF0) {
        if (left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80)
            return 0;
        *point = (uint32_t)(lead & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
        return *point >= 0x800 && (*point & 0xF800) != 0xD800 ? 3 : 0;
    }
    if (left < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80)
        return 0;
    *point = (uint32_t)(lead & 0x0F) << 18 | (uint32_t)(p[1] & 0x3F) << 12 | (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
    return lead <= 0xF4 && *point >= 0x10000 && *point <= 0x10FFFF ? 4 : 0;
}

/* Write `n` bytes of UTF-8 as code points of `kind`; the end of what was written, or NULL where it is not valid.
 * `stop` ends the string: wide stores stay before it. */
ALWAYS_INLINE uint8_t *widen(const uint8_t *p, size_t n, uint8_t *out, const uint8_t *stop, int kind)
{
    const uint8_t *end = p + n;
    while (p < end) {
        size_t left = (size_t)(end - p);
        if (*p < 0x80) {
            if (left >= 16 && (size_t)(stop - out) >= 16 * (size_t)kind) {
                __m128i v = load(p);
                unsigned high = (unsigned)_mm_movemask_epi8(v);
                put16(out, kind, v);
                unsigned run = high ? (unsigned)__builtin_ctz(high) : 16;
                p += run;
                out += run * (unsigned)kind;
            } else {
                do {
                    put(out, kind, *p++);
                    out += kind;
                } while (p < end && *p < 0x80);
            }
            continue;
        }
        if (*p < 0xE0 && left >= 16 && (size_t)(stop - out) >= 8 * (size_t)kind) {
            unsigned run = put_pairs(out, kind, p);
            if (UNLIKELY(run == 0))
                return NULL;
            p += 2 * run;
            out += run * (unsigned)kind;
            continue;
        }
        while (kind > 1 && (*p & 0xF0) == 0xE0 && end - p >= 4) {
            uint32_t w = load32(p);
            uint32_t point = (w & 0x0F) << 12 | (w >> 2 & 0xFC0) | (w >> 16 & 0x3F);
            if (UNLIKELY((w & 0xC0C0F0) != 0x8080E0 || point < 0x800 || (point & 0xF800) == 0xD800))
                return NULL;
            put(out, kind, point);
            out += kind;
            p += 3;
        }
        if (p < end && *p >= 0x80) {
            uint32_t point;
            unsigned size = sequence(p, (size_t)(end - p), &point);
            if (UNLIKELY(size == 0))
                return NULL;
            put(out, kind, point);
            out += kind;
            p += size;
        }
    }
    return out;
}

static uint8_t *widen1(const uint8_t *p, size_t n, uint8_t *out, const uint8_t *stop) { return widen(p, n, out, stop, 1); }
static uint8_t *widen2(const uint8_t *p, size_t n, uint8_t *out, const uint8_t *stop) { return widen(p, n, out, stop, 2); }
static uint8_t *widen4(const uint8_t *p, size_t n, uint8_t *out, const uint8_t *stop) { return widen(p, n, out, stop, 4); }

typedef struct {
    const uint8_t *at;
    size_t size;
    uint64_t high; /* not 0: some byte is not ASCII */
} Piece;

static PyObject *text_replaced(const Piece *pieces, size_t count)
{
    Bytes joined = {NULL, 0, 0};
    PyObject *text = NULL;
    for (size_t i = 0; i < count; i++)
        if ((i && append(&joined, "\n", 1) < 0) || append(&joined, pieces[i].at, pieces[i].size) < 0)
            goto done;
    text = PyUnicode_DecodeUTF8((const char *)joined.at, (Py_ssize_t)joined.size, "replace");
done:
    PyMem_Free(joined.at);
    return text;
}

static PyObject *text_high(const Piece *pieces, size_t count)
{
    size_t points = count - 1;
    uint8_t top = 0;
    for (size_t i = 0; i < count; i++) {
        if (!pieces[i].high) {
            points += pieces[i].size;
            continue;
        }
        Measure m = measure(pieces[i].at, pieces[i].size);
        points += m.points;
        top = m.top > top ? m.top : top;
    }
    Py_UCS4 greatest = top >= 0xF0 ? 0x10FFFF : top >= 0xC4 ? 0xFFFF : 0xFF;
    int kind = top >= 0xF0 ? 4 : top >= 0xC4 ? 2 : 1;
    PyObject *text = PyUnicode_New((Py_ssize_t)points, greatest);
    if (text == NULL)
        return NULL;
    uint8_t *out = PyUnicode_DATA(text);
    const uint8_t *stop = out + points * (size_t)kind;
    for (size_t i = 0; i < count; i++) {
        if (i) {
            put(out, kind, '\n');
            out += kind;
        }
        out = kind == 2   ? widen2(pieces[i].at, pieces[i].size, out, stop)
              : kind == 1 ? widen1(pieces[i].at, pieces[i].size, out, stop)
                          : widen4(pieces[i].at, pieces[i].size, out, stop);
        if (UNLIKELY(out == NULL)) {
            Py_DECREF(text);
            return text_replaced(pieces, count);
        }
    }
    return text;
}

ALWAYS_INLINE PyObject *text_ascii(const uint8_t *p, size_t n)
{
    PyObject *text = PyUnicode_New((Py_ssize_t)n, 127);
    if (LIKELY(text != NULL) && n)
        copy(PyUnicode_DATA(text), p, n);
    return text;
}

static PyObject *text_lines(const Piece *pieces, size_t count)
{
    size_t size = count - 1;
    uint64_t high = 0;
    for (size_t i = 0; i < count; i++) {
        size += pieces[i].size;
        high |= pieces[i].high;
    }
    if (high)
        return text_high(pieces, count);
    PyObject *text = PyUnicode_New((Py_ssize_t)size, 127);
    if (text == NULL)
        return NULL;
    uint8_t *out = PyUnicode_DATA(text);
    for (size_t i = 0; i < count; i++) {
        if (i)
            *out++ = '\n';
        copy(out, pieces[i].at, pieces[i].size);
        out += pieces[i].size;
    }
    return text;
}

ALWAYS_INLINE PyObject *text_of(Piece piece)
{
    return LIKELY(!piece.high) ? text_ascii(piece.at, piece.size) : text_high(&piece, 1);
}

/* ---- Event ------------------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    PyObject *data, *event, *id, *retry;
} Event;

static PyTypeObject EventType;
static Event *pool[POOL];
static size_t pooled;

/* Steals `data`, borrows the others. */
ALWAYS_INLINE PyObject *event_new(PyObject *data, PyObject *event, PyObject *id, PyObject *retry)
{
    Event *self;
    if (LIKELY(pooled)) {
        self = pool[--pooled]; /* it has kept its type */
        Py_SET_REFCNT((PyObject *)self, 1);
    } else {
        self = PyObject_New(Event, &EventType);
        if (UNLIKELY(self == NULL)) {
            Py_DECREF(data);
            return NULL;
        }
    }
    self->data = data;
    Py_INCREF(event);
    self->event = event;
    Py_INCREF(id);
    self->id = id;
    Py_INCREF(retry);
    self->retry = retry;
    return (PyObject *)self;
}

static void event_dealloc(PyObject *object)
{
    Event *self = (Event *)object;
    Py_DECREF(self->data);
    Py_DECREF(self->event);
    Py_DECREF(self->id);
    Py_DECREF(self->retry);
    if (LIKELY(pooled < POOL))
        pool[pooled++] = self;
    else
        PyObject_Free(self);
}

static PyMemberDef event_members[] = {
    {"data", T_OBJECT_EX, offsetof(Event, data), READONLY, NULL},
    {"event", T_OBJECT_EX, offsetof(Event, event), READONLY, NULL},
    {"id", T_OBJECT_EX, offsetof(Event, id), READONLY, NULL},
    {"retry", T_OBJECT_EX, offsetof(Event, retry), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject EventType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor.Event",
    .tp_basicsize = sizeof(Event),
    .tp_dealloc = event_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_members = event_members,
};

/* ---- Decoder ---------------------------------------------------------------------------------------------- */

static PyObject *empty_text, *message_text;

typedef struct {
    PyObject_HEAD
    Piece *pieces; /* values of the open block that lie in the chunk at hand */
    size_t count, piece_room;
    PyObject **events; /* dispatched from the chunk at hand */
    size_t dispatched, event_room;
    PyObject *id;            /* the last event ID buffer */
    PyObject *last_event_id; /* the stream's */
    PyObject *type;          /* borrowed from `name_text`, or NULL: message */
    PyObject *retry;         /* this block's, or None */
    Bytes data;              /* values from earlier chunks, each with its LF */
    uint64_t data_high;
    Bytes line; /* the line that no line end has closed yet */
    uint64_t line_high;
    PyObject *name_text; /* one-entry cache of the event type */
    size_t name_size;
    uint8_t name[NAME_CACHE];
    PyObject *delay_number; /* one-entry cache of retry */
    uint64_t delay;
    int swallow; /* an LF that comes next belongs to the CR that ended the last chunk */
    int bom;     /* the next line is the stream's first */
} Decoder;

NEVER_INLINE int grow_events(Decoder *self)
{
    size_t room = self->event_room * 2 + 64;
    PyObject **events = PyMem_Realloc(self->events, room * sizeof *events);
    if (events == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->events = events;
    self->event_room = room;
    return 0;
}

NEVER_INLINE int grow_pieces(Decoder *self)
{
    size_t room = self->piece_room * 2 + 16;
    Piece *pieces = PyMem_Realloc(self->pieces, room * sizeof *pieces);
    if (pieces == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->pieces = pieces;
    self->piece_room = room;
    return 0;
}

/* Copy the pieces of the open block, which must outlive the chunk. */
static int keep_pieces(Decoder *self)
{
    for (size_t i = 0; i < self->count; i++) {
        Piece piece = self->pieces[i];
        if (reserve(&self->data, piece.size + 1) < 0)
            return -1;
        copy(self->data.at + self->data.size, piece.at, piece.size);
        self->data.size += piece.size;
        self->data.at[self->data.size++] = '\n';
        self->data_high |= piece.high;
    }
    self->count = 0;
    return 0;
}

static PyObject *block_text(Decoder *self)
{
    if (self->data.size == 0) {
        size_t count = self->count;
        self->count = 0;
        return count == 1 ? text_of(self->pieces[0]) : text_lines(self->pieces, count);
    }
    if (keep_pieces(self) < 0)
        return NULL;
    Piece whole = {self->data.at, self->data.size - 1, self->data_high};
    self->data.size = 0;
    self->data_high = 0;
    return text_of(whole);
}

ALWAYS_INLINE int dispatch_text(Decoder *self, PyObject *text)
{
    if (UNLIKELY(text == NULL))
        return -1;
    PyObject *event = event_new(text, self->type ? self->type : message_text, self->id, self->retry);
    if (UNLIKELY(event == NULL))
        return -1;
    if (UNLIKELY(self->dispatched == self->event_room) && grow_events(self) < 0) {
        Py_DECREF(event);
        return -1;
    }
    self->events[self->dispatched++] = event;
    return 0;
}

/* Do what a blank line does, except for the data. */
ALWAYS_INLINE void close_block(Decoder *self)
{
    if (UNLIKELY(self->last_event_id != self->id)) {
        Py_INCREF(self->id);
        Py_SETREF(self->last_event_id, self->id);
    }
    self->type = NULL;
    if (UNLIKELY(self->retry != Py_None)) {
        Py_DECREF(self->retry);
        Py_INCREF(Py_None);
        self->retry = Py_None;
    }
}

static int dispatch(Decoder *self)
{
    if (self->count || self->data.size)
        if (dispatch_text(self, block_text(self)) < 0)
            return -1;
    close_block(self);
    return 0;
}

ALWAYS_INLINE int add_piece(Decoder *self, const uint8_t *p, size_t n, uint64_t high)
{
    if (UNLIKELY(self->count == self->piece_room) && grow_pieces(self) < 0)
        return -1;
    self->pieces[self->count++] = (Piece){p, n, high};
    return 0;
}

static int set_type(Decoder *self, Piece value)
{
    if (value.size == 0) {
        self->type = NULL;
        return 0;
    }
    if (self->name_text == NULL || value.size != self->name_size || memcmp(self->name, value.at, value.size) != 0) {
        PyObject *text = text_of(value);
        if (text == NULL)
            return -1;
        Py_XSETREF(self->name_text, text);
        self->name_size = value.size <= NAME_CACHE ? value.size : SIZE_MAX;
        if (value.size <= NAME_CACHE)
            memcpy(self->name, value.at, value.size);
    }
    self->type = self->name_text;
    return 0;
}

static int set_id(Decoder *self, Piece value)
{
    if (value.size && memchr(value.at, 0, value.size))
        return 0;
    PyObject *text = value.size ? text_of(value) : Py_NewRef(empty_text);
    if (text == NULL)
        return -1;
    Py_SETREF(self->id, text);
    return 0;
}

static int set_retry(Decoder *self, Piece value)
{
    uint64_t delay = 0;
    if (value.size == 0)
        return 0;
    for (size_t i = 0; i < value.size; i++) {
        uint8_t digit = (uint8_t)(value.at[i] - '0');
        if (digit > 9)
            return 0;
        delay = delay > (MAX_RETRY - digit) / 10 ? MAX_RETRY : delay * 10 + digit;
    }
    if (self->delay_number == NULL || delay != self->delay) {
        PyObject *number = PyLong_FromUnsignedLongLong(delay);
        if (number == NULL)
            return -1;
        Py_XSETREF(self->delay_number, number);
        self->delay = delay;
    }
    Py_INCREF(self->delay_number);
    Py_SETREF(self->retry, self->delay_number);
    return 0;
}

/* Return 1 when the line is this field, and set `value` to what follows the colon and one space. */
ALWAYS_INLINE int is_field(const uint8_t *p, size_t n, uint64_t high, const char *name, size_t size, Piece *value)
{
    if (n < size || memcmp(p, name, size) != 0 || (n > size && p[size] != ':'))
        return 0;
    size_t skip = n > size ? size + 1 : size;
    skip += skip < n && p[skip] == ' ';
    *value = (Piece){p + skip, n - skip, high};
    return 1;
}

static int other_field(Decoder *self, const uint8_t *p, size_t n, uint64_t high)
{
    Piece value;
    switch (p[0]) {
    case 'e':
        return is_field(p, n, high, "event", 5, &value) ? set_type(self, value) : 0;
    case 'i':
        return is_field(p, n, high, "id", 2, &value) ? set_id(self, value) : 0;
    case 'r':
        return is_field(p, n, high, "retry", 5, &value) ? set_retry(self, value) : 0;
    case 'd':
        return is_field(p, n, high, "data", 4, &value) ? add_piece(self, value.at, value.size, high) : 0;
    default:
        return 0;
    }
}

/* Handle the first line of a chunk, which may begin in an earlier chunk or with a byte-order mark. */
NEVER_INLINE int interpret_first(Decoder *self, const uint8_t *p, size_t n, uint64_t high)
{
    if (self->line.size) {
        if (append(&self->line, p, n) < 0)
            return -1;
        p = self->line.at;
        n = self->line.size;
        high |= self->line_high;
        self->line.size = 0;
        self->line_high = 0;
    }
    if (self->bom) {
        self->bom = 0;
        if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
            p += 3;
            n -= 3;
        }
    }
    return n == 0 ? dispatch(self) : other_field(self, p, n, high);
}

/* Dispatch a block of one data line, without storing its piece. */
ALWAYS_INLINE int dispatch_line(Decoder *self, const uint8_t *p, size_t n, uint64_t high)
{
    size_t skip = 5 + (p[5] == ' ');
    if (UNLIKELY(dispatch_text(self, text_of((Piece){p + skip, n - skip, high})) < 0))
        return -1;
    close_block(self);
    return 0;
}

ALWAYS_INLINE int is_data_line(const uint8_t *p, size_t n)
{
    return n >= 6 && load32(p) == 0x61746164 && p[4] == ':'; /* "data" */
}

static int split(Decoder *self, const uint8_t *s, size_t n)
{
    uint64_t after_cr = (uint64_t)self->swallow, high = 0;
    size_t start = self->swallow && s[0] == '\n', base = 0;
    int special = self->bom || self->line.size;
    for (; base < n; base += 64) {
        Masks m;
        if (LIKELY(n - base >= 64)) {
            if (is_plain64(s + base)) {
                after_cr = 0;
                continue;
            }
            m = masks64(s + base);
        } else {
            m = masks_short(s + base, n - base);
        }
        uint64_t ends = m.lf;
        if (m.cr | after_cr) {
            uint64_t swallowed = m.cr << 1 | after_cr;
            after_cr = m.cr >> 63;
            ends = (m.lf & ~swallowed) | m.cr;
        }
        while (ends) {
            unsigned bit = (unsigned)__builtin_ctzll(ends);
            uint64_t below = ((uint64_t)1 << bit) - 1;
            size_t at = base + bit, size = at - start;
            const uint8_t *line = s + start;
            ends &= ends - 1;
            high |= m.high & below;
            m.high &= ~below;
            start = at + 1;
            if (m.cr)
                start += s[at] == '\r' && start < n && s[start] == '\n';
            int failed;
            if (UNLIKELY(special)) {
                failed = interpret_first(self, line, size, high);
                special = 0;
            } else if (is_data_line(line, size)) {
                size_t next = start - base;
                if (next < 64 && ends >> next & 1 && !self->count && !self->data.size) {
                    failed = dispatch_line(self, line, size, high);
                    ends &= ends - 1;
                    at = start++;
                    if (m.cr)
                        start += s[at] == '\r' && start < n && s[start] == '\n';
                } else {
                    size_t skip = 5 + (line[5] == ' ');
                    failed = add_piece(self, line + skip, size - skip, high);
                }
            } else {
                failed = size == 0 ? dispatch(self) : other_field(self, line, size, high);
            }
            if (UNLIKELY(failed))
                return -1;
            high = 0;
        }
        high |= m.high;
    }
    self->swallow = s[n - 1] == '\r';
    if (self->count && keep_pieces(self) < 0)
        return -1;
    if (start < n) {
        if (append(&self->line, s + start, n - start) < 0)
            return -1;
        self->line_high |= high;
    }
    return 0;
}

static PyObject *decoder_feed(PyObject *object, PyObject *chunk)
{
    Decoder *self = (Decoder *)object;
    int failed = 0;
    if (LIKELY(PyBytes_CheckExact(chunk))) {
        if (PyBytes_GET_SIZE(chunk))
            failed = split(self, (const uint8_t *)PyBytes_AS_STRING(chunk), (size_t)PyBytes_GET_SIZE(chunk));
    } else {
        Py_buffer view;
        if (PyObject_GetBuffer(chunk, &view, PyBUF_SIMPLE) < 0)
            return NULL;
        if (view.len)
            failed = split(self, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    size_t count = self->dispatched;
    PyObject *events = failed ? NULL : PyList_New((Py_ssize_t)count);
    self->dispatched = 0;
    if (UNLIKELY(events == NULL)) {
        while (count)
            Py_DECREF(self->events[--count]);
        return NULL;
    }
    if (count)
        memcpy(((PyListObject *)events)->ob_item, self->events, count * sizeof *self->events);
    return events;
}

static PyObject *decoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"max_event_size", NULL};
    PyObject *ignored = NULL; /* so that both decoders are made alike */
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O", names, &ignored))
        return NULL;
    Decoder *self = (Decoder *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->id = Py_NewRef(empty_text);
    self->last_event_id = Py_NewRef(empty_text);
    self->retry = Py_NewRef(Py_None);
    self->bom = 1;
    return (PyObject *)self;
}

static void decoder_dealloc(PyObject *object)
{
    Decoder *self = (Decoder *)object;
    Py_XDECREF(self->id);
    Py_XDECREF(self->last_event_id);
    Py_XDECREF(self->retry);
    Py_XDECREF(self->name_text);
    Py_XDECREF(self->delay_number);
    PyMem_Free(self->pieces);
    PyMem_Free(self->events);
    PyMem_Free(self->data.at);
    PyMem_Free(self->line.at);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef decoder_methods[] = {
    {"feed", decoder_feed, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef decoder_members[] = {
    {"last_event_id", T_OBJECT_EX, offsetof(Decoder, last_event_id), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject DecoderType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor.Decoder",
    .tp_basicsize = sizeof(Decoder),
    .tp_dealloc = decoder_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = decoder_methods,
    .tp_members = decoder_members,
    .tp_new = decoder_new,
};

/* ---- LineSplitter ----------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject **lines;
    size_t count, room;
    Bytes rest;
    int swallow;
} Splitter;

static int add_line(Splitter *self, const uint8_t *p, size_t n)
{
    if (UNLIKELY(self->count == self->room)) {
        size_t room = self->room * 2 + 64;
        PyObject **lines = PyMem_Realloc(self->lines, room * sizeof *lines);
        if (lines == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->lines = lines;
        self->room = room;
    }
    if (self->rest.size) {
        if (append(&self->rest, p, n) < 0)
            return -1;
        p = self->rest.at;
        n = self->rest.size;
        self->rest.size = 0;
    }
    PyObject *line = PyBytes_FromStringAndSize((const char *)p, (Py_ssize_t)n);
    if (line == NULL)
        return -1;
    self->lines[self->count++] = line;
    return 0;
}

static int split_lines(Splitter *self, const uint8_t *s, size_t n)
{
    uint64_t after_cr = (uint64_t)self->swallow;
    size_t start = self->swallow && s[0] == '\n';
    for (size_t base = 0; base < n; base += 64) {
        if (n - base >= 64 && is_plain64(s + base)) {
            after_cr = 0;
            continue;
        }
        Masks m = n - base >= 64 ? masks64(s + base) : masks_short(s + base, n - base);
        uint64_t ends = m.lf;
        if (m.cr | after_cr) {
            uint64_t swallowed = m.cr << 1 | after_cr;
            after_cr = m.cr >> 63;
            ends = (m.lf & ~swallowed) | m.cr;
        }
        while (ends) {
            size_t at = base + (unsigned)__builtin_ctzll(ends);
            ends &= ends - 1;
            if (UNLIKELY(add_line(self, s + start, at - start) < 0))
                return -1;
            start = at + 1;
            start += m.cr && s[at] == '\r' && start < n && s[start] == '\n';
        }
    }
    self->swallow = s[n - 1] == '\r';
    return start < n ? append(&self->rest, s + start, n - start) : 0;
}

static PyObject *splitter_feed(PyObject *object, PyObject *chunk)
{
    Splitter *self = (Splitter *)object;
    if (!PyBytes_CheckExact(chunk)) {
        PyErr_SetString(PyExc_TypeError, "the floor splits bytes only");
        return NULL;
    }
    Py_ssize_t n = PyBytes_GET_SIZE(chunk);
    int failed = n ? split_lines(self, (const uint8_t *)PyBytes_AS_STRING(chunk), (size_t)n) : 0;
    size_t count = self->count;
    PyObject *lines = failed ? NULL : PyList_New((Py_ssize_t)count);
    self->count = 0;
    if (UNLIKELY(lines == NULL)) {
        while (count)
            Py_DECREF(self->lines[--count]);
        return NULL;
    }
    if (count)
        memcpy(((PyListObject *)lines)->ob_item, self->lines, count * sizeof *self->lines);
    return lines;
}

static void splitter_dealloc(PyObject *object)
{
    Splitter *self = (Splitter *)object;
    PyMem_Free(self->lines);
    PyMem_Free(self->rest.at);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef splitter_methods[] = {
    {"feed", splitter_feed, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject SplitterType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor.LineSplitter",
    .tp_basicsize = sizeof(Splitter),
    .tp_dealloc = splitter_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = splitter_methods,
    .tp_new = PyType_GenericNew,
};

/* ---- str to UTF-8 ----------------------------------------------------------------------------------------- */

static Bytes scratch; /* the block at hand, when its size is not known beforehand */

enum { BROKEN = -1, ONE_LINE = 0, HAS_LINE_END = 1 };
enum { WIDEST = 7 }; /* bytes that one code point can become: a line end is written as "\ndata: " */
enum { SLACK = 64 }; /* bytes that wide stores may write too far */

ALWAYS_INLINE __m128i line_ends(__m128i v)
{
    return _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\r')));
}

#ifdef __AVX2__
/* Bytes that may be line ends: in ASCII, whatever lies below 0x0E. One compare instead of two. */
ALWAYS_INLINE __m256i suspects(__m256i v) { return _mm256_cmpgt_epi8(_mm256_set1_epi8(0x0E), v); }

ALWAYS_INLINE int has_line_end(__m256i v)
{
    __m256i lf = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\n')), cr = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\r'));
    return _mm256_movemask_epi8(_mm256_or_si256(lf, cr)) != 0;
}

/* By 64 and 32 bytes; ASCII, at least 32 of it. Longer steps are no faster. */
ALWAYS_INLINE int copy_wide(uint8_t *out, const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m256i a = wide(p + i), b = wide(p + i + 32);
        _mm256_storeu_si256((__m256i *)(out + i), a);
        _mm256_storeu_si256((__m256i *)(out + i + 32), b);
        if (UNLIKELY(_mm256_movemask_epi8(_mm256_or_si256(suspects(a), suspects(b))))
            && (has_line_end(a) || has_line_end(b)))
            return HAS_LINE_END;
    }
    for (; i < n; i += 32) {
        i = i + 32 <= n ? i : n - 32;
        __m256i v = wide(p + i);
        _mm256_storeu_si256((__m256i *)(out + i), v);
        if (UNLIKELY(_mm256_movemask_epi8(suspects(v))) && has_line_end(v))
            return HAS_LINE_END;
    }
    return ONE_LINE;
}
#endif

/* Copy `n` bytes of ASCII and say whether a line end is among them. Stores stay inside `n`. */
ALWAYS_INLINE int copy_line(uint8_t *out, const uint8_t *p, size_t n)
{
#ifdef __AVX2__
    if (n >= 32)
        return copy_wide(out, p, n);
#endif
    __m128i found = _mm_setzero_si128();
    if (n >= 16) {
        size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            __m128i v = load(p + i);
            store(out + i, v);
            found = _mm_or_si128(found, line_ends(v));
            if (UNLIKELY((i & 4095) == 0) && _mm_movemask_epi8(found))
                return HAS_LINE_END;
        }
        __m128i v = load(p + n - 16);
        store(out + n - 16, v);
        found = _mm_or_si128(found, line_ends(v));
    } else if (n >= 8) {
        __m128i a = _mm_loadl_epi64((const __m128i *)p), b = _mm_loadl_epi64((const __m128i *)(p + n - 8));
        _mm_storel_epi64((__m128i *)out, a);
        _mm_storel_epi64((__m128i *)(out + n - 8), b);
        found = line_ends(_mm_unpacklo_epi64(a, b));
    } else if (n >= 4) {
        uint32_t a = load32(p), b = load32(p + n - 4);
        memcpy(out, &a, 4);
        memcpy(out + n - 4, &b, 4);
        found = line_ends(_mm_unpacklo_epi32(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b)));
    } else {
        int any = 0;
        for (size_t i = 0; i < n; i++) {
            out[i] = p[i];
            any |= p[i] == '\n' || p[i] == '\r';
        }
        return any;
    }
    return _mm_movemask_epi8(found) ? HAS_LINE_END : ONE_LINE;
}

/* The prefix of a data line, and the end of the line before it. Eight bytes are stored. */
ALWAYS_INLINE uint8_t *put_prefix(uint8_t *out)
{
    memcpy(out, "data: ", 6);
    return out + 6;
}

ALWAYS_INLINE uint8_t *put_next_prefix(uint8_t *out)
{
    memcpy(out, "\ndata: ", 8);
    return out + 7;
}

/* Copy bytes, every line as a data line; the first prefix is there already. Room for the widest, and `SLACK`. */
static uint8_t *copy_lines(uint8_t *out, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    while (end - p >= 16) {
        __m128i v = load(p);
        store(out, v);
        unsigned found = (unsigned)_mm_movemask_epi8(line_ends(v));
        if (!found) {
            p += 16;
            out += 16;
            continue;
        }
        unsigned run = (unsigned)__builtin_ctz(found);
        out = put_next_prefix(out + run);
        p += run + 1;
        p += p[-1] == '\r' && p < end && *p == '\n';
    }
    while (p < end) {
        uint8_t c = *p++;
        if (c == '\n' || c == '\r') {
            out = put_next_prefix(out);
            p += c == '\r' && p < end && *p == '\n';
        } else {
            *out++ = c;
        }
    }
    return out;
}

ALWAYS_INLINE uint32_t get(const uint8_t *p, int kind)
{
    return kind == 1 ? *p : kind == 2 ? *(const uint16_t *)p : *(const uint32_t *)p;
}

/* Sixteen code points as bytes, and which of them are not ASCII. */
ALWAYS_INLINE __m128i narrow16(const uint8_t *p, int kind, unsigned *high)
{
    if (kind == 1) {
        __m128i v = load(p);
        *high = (unsigned)_mm_movemask_epi8(v);
        return v;
    }
    const __m128i zero = _mm_setzero_si128(), over = _mm_set1_epi16((short)0xFF80);
    __m128i a, b;
    if (kind == 2) {
        a = load(p);
        b = load(p + 16);
    } else { /* signed saturation keeps what is not ASCII not ASCII */
        a = _mm_packs_epi32(load(p), load(p + 16));
        b = _mm_packs_epi32(load(p + 32), load(p + 48));
    }
    __m128i plain = _mm_cmpeq_epi16(_mm_and_si128(_mm_or_si128(a, b), over), zero);
    *high = 0;
    if (_mm_movemask_epi8(plain) != 0xFFFF) {
        __m128i low = _mm_cmpeq_epi16(_mm_and_si128(a, over), zero), up = _mm_cmpeq_epi16(_mm_and_si128(b, over), zero);
        *high = ~(unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, up)) & 0xFFFF;
    }
    return _mm_packus_epi16(a, b);
}

/* Two-byte sequences of up to eight code points: writes sixteen bytes, returns how many points count. */
ALWAYS_INLINE unsigned narrow_pairs(uint8_t *out, const uint8_t *p, int kind)
{
    __m128i v = kind == 2 ? load(p) : _mm_packs_epi32(load(p), load(p + 16));
    __m128i low = _mm_cmpgt_epi16(v, _mm_set1_epi16(0x7F)), up = _mm_cmplt_epi16(v, _mm_set1_epi16(0x800));
    __m128i lead = _mm_or_si128(_mm_srli_epi16(v, 6), _mm_set1_epi16(0xC0));
    __m128i rest = _mm_or_si128(_mm_and_si128(v, _mm_set1_epi16(0x3F)), _mm_set1_epi16(0x80));
    store(out, _mm_or_si128(lead, _mm_slli_epi16(rest, 8)));
    return (unsigned)__builtin_ctz(~(uint32_t)_mm_movemask_epi8(_mm_and_si128(low, up))) / 2;
}

/* One code point of more than two bytes. */
ALWAYS_INLINE uint8_t *put_long(uint8_t *out, uint32_t c)
{
    if (c < 0x10000) {
        uint32_t w = 0x8080E0 | c >> 12 | (c & 0xFC0) << 2 | (c & 0x3F) << 16;
        memcpy(out, &w, 4);
        return out + 3;
    }
    uint32_t w = 0x808080F0 | c >> 18 | (c >> 4 & 0x3F00) | (c & 0xFC0) << 10 | (c & 0x3F) << 24;
    memcpy(out, &w, 4);
    return out + 4;
}

/* Write `n` code points as UTF-8; with `lines`, every line as a data line. NULL where it meets a surrogate.
 * Without `lines`, `found` tells of line ends. Room for the widest, and `SLACK`. */
ALWAYS_INLINE uint8_t *narrow(const uint8_t *p, size_t n, uint8_t *out, int kind, int lines, int *found)
{
    const uint8_t *end = p + n * (size_t)kind;
    unsigned seen = 0;
    while (p < end) {
        size_t left = (size_t)(end - p) / (size_t)kind;
        uint32_t c = get(p, kind);
        if (c < 0x80 && left >= 16) {
            unsigned high;
            __m128i v = narrow16(p, kind, &high);
            unsigned run = high ? (unsigned)__builtin_ctz(high) : 16;
            unsigned ends = (unsigned)_mm_movemask_epi8(line_ends(v)) & ((1u << run) - 1);
            store(out, v);
            if (lines && ends) {
                run = (unsigned)__builtin_ctz(ends);
                out = put_next_prefix(out + run);
                p += (run + 1) * (unsigned)kind;
                if (get(p - kind, kind) == '\r' && p < end && get(p, kind) == '\n')
                    p += kind;
                continue;
            }
            seen |= ends;
            out += run;
            p += run * (unsigned)kind;
        } else if (c < 0x80) {
            p += kind;
            if (lines && (c == '\n' || c == '\r')) {
                out = put_next_prefix(out);
                if (c == '\r' && p < end && get(p, kind) == '\n')
                    p += kind;
                continue;
            }
            seen |= c == '\n' || c == '\r';
            *out++ = (uint8_t)c;
        } else if (kind > 1 && c < 0x800 && left >= 8) {
            unsigned run = narrow_pairs(out, p, kind);
            out += 2 * run;
            p += run * (unsigned)kind;
        } else if (kind == 1 || c < 0x800) {
            *out++ = (uint8_t)(0xC0 | c >> 6);
            *out++ = (uint8_t)(0x80 | (c & 0x3F));
            p += kind;
        } else {
            do {
                if (UNLIKELY((c & 0xFFFFF800) == 0xD800))
                    return NULL;
                out = put_long(out, c);
                p += kind;
            } while (p < end && (c = get(p, kind)) >= 0x800);
        }
    }
    *found = seen ? HAS_LINE_END : ONE_LINE;
    return out;
}

static uint8_t *line1(const uint8_t *p, size_t n, uint8_t *out, int *found) { return narrow(p, n, out, 1, 0, found); }
static uint8_t *line2(const uint8_t *p, size_t n, uint8_t *out, int *found) { return narrow(p, n, out, 2, 0, found); }
static uint8_t *line4(const uint8_t *p, size_t n, uint8_t *out, int *found) { return narrow(p, n, out, 4, 0, found); }
static uint8_t *lines1(const uint8_t *p, size_t n, uint8_t *out, int *found) { return narrow(p, n, out, 1, 1, found); }
static uint8_t *lines2(const uint8_t *p, size_t n, uint8_t *out, int *found) { return narrow(p, n, out, 2, 1, found); }
static uint8_t *lines4(const uint8_t *p, size_t n, uint8_t *out, int *found) { return narrow(p, n, out, 4, 1, found); }

NEVER_INLINE int refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return -1;
}

/* ---- encode ----------------------------------------------------------------------------------------------- */

/* Room for `n` code points at their widest, and for the names around them. */
ALWAYS_INLINE uint8_t *room_for(Bytes *b, size_t n)
{
    return reserve(b, n * WIDEST + 2 * SLACK) < 0 ? NULL : b->at + b->size;
}

static int append_data(Bytes *b, PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        size_t n = (size_t)PyBytes_GET_SIZE(data);
        uint8_t *out = room_for(b, n);
        if (out == NULL)
            return -1;
        out = copy_lines(put_prefix(out), (const uint8_t *)PyBytes_AS_STRING(data), n);
        *out++ = '\n';
        b->size = (size_t)(out - b->at);
        return 0;
    }
    size_t n = (size_t)PyUnicode_GET_LENGTH(data);
    const uint8_t *p = PyUnicode_DATA(data);
    uint8_t *out = room_for(b, n);
    int kind = (int)PyUnicode_KIND(data), found;
    if (out == NULL)
        return -1;
    out = put_prefix(out);
    if (PyUnicode_IS_ASCII(data))
        out = copy_line(out, p, n) == ONE_LINE ? out + n : copy_lines(out, p, n);
    else
        out = kind == 2 ? lines2(p, n, out, &found) : kind == 1 ? lines1(p, n, out, &found) : lines4(p, n, out, &found);
    if (UNLIKELY(out == NULL))
        return refuse("text must not contain lone surrogates");
    *out++ = '\n';
    b->size = (size_t)(out - b->at);
    return 0;
}

ALWAYS_INLINE int append_field(Bytes *b, const char *name, size_t size, PyObject *value)
{
    size_t n = (size_t)PyUnicode_GET_LENGTH(value);
    const uint8_t *p = PyUnicode_DATA(value);
    uint8_t *out = room_for(b, n);
    int kind = (int)PyUnicode_KIND(value), found;
    if (out == NULL)
        return -1;
    memcpy(out, name, size);
    out += size;
    if (PyUnicode_IS_ASCII(value)) {
        found = copy_line(out, p, n);
        out += n;
    } else {
        out = kind == 2 ? line2(p, n, out, &found) : kind == 1 ? line1(p, n, out, &found) : line4(p, n, out, &found);
    }
    if (UNLIKELY(out == NULL))
        return refuse("text must not contain lone surrogates");
    if (UNLIKELY(found))
        return refuse("event and id are one line");
    *out++ = '\n';
    b->size = (size_t)(out - b->at);
    return 0;
}

static int append_retry(Bytes *b, PyObject *retry)
{
    uint64_t delay = PyLong_AsUnsignedLongLong(retry);
    if (delay == (uint64_t)-1 && PyErr_Occurred())
        return -1;
    uint8_t digits[24];
    size_t at = sizeof digits;
    digits[--at] = '\n';
    do
        digits[--at] = (uint8_t)('0' + delay % 10);
    while (delay /= 10);
    uint8_t *out = room_for(b, 0);
    if (out == NULL)
        return -1;
    memcpy(out, "retry: ", 7);
    memcpy(out + 7, digits + at, sizeof digits - at);
    b->size += 7 + sizeof digits - at;
    return 0;
}

typedef struct {
    PyObject *data, *event, *id, *retry;
} Fields;

static int append_block(Bytes *b, const Fields *f)
{
    if (f->id && append_field(b, "id: ", 4, f->id) < 0)
        return -1;
    if (f->event && append_field(b, "event: ", 7, f->event) < 0)
        return -1;
    if (f->retry && append_retry(b, f->retry) < 0)
        return -1;
    if (f->data && append_data(b, f->data) < 0)
        return -1;
    return append(b, "\n", 1);
}

static PyObject *scratch_bytes(void)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)scratch.size);
    if (bytes != NULL)
        copy((uint8_t *)PyBytes_AS_STRING(bytes), scratch.at, scratch.size);
    return bytes;
}

static PyObject *encode_scratch(const Fields *f)
{
    scratch.size = 0;
    if (append_block(&scratch, f) < 0)
        return NULL;
    return scratch_bytes();
}

ALWAYS_INLINE PyObject *bytes_new(size_t n) { return PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n); }

ALWAYS_INLINE int is_ascii(PyObject *text) { return text == NULL || PyUnicode_IS_ASCII(text); }

ALWAYS_INLINE uint8_t *put_field(uint8_t *out, const char *name, size_t size, PyObject *value, int *found)
{
    if (value == NULL)
        return out;
    size_t n = (size_t)PyUnicode_GET_LENGTH(value);
    memcpy(out, name, size);
    *found |= copy_line(out + size, PyUnicode_DATA(value), n);
    out[size + n] = '\n';
    return out + size + n + 1;
}

/* Every text ASCII and on one line: the size is known, so copy into the final object while looking. */
ALWAYS_INLINE PyObject *encode_ascii(const Fields *f)
{
    size_t n = (size_t)PyUnicode_GET_LENGTH(f->data), size = n + 8;
    size += f->event ? (size_t)PyUnicode_GET_LENGTH(f->event) + 8 : 0;
    size += f->id ? (size_t)PyUnicode_GET_LENGTH(f->id) + 5 : 0;
    PyObject *block = bytes_new(size);
    if (UNLIKELY(block == NULL))
        return NULL;
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(block);
    int found = 0;
    out = put_field(out, "id: ", 4, f->id, &found);
    out = put_field(out, "event: ", 7, f->event, &found);
    out = put_prefix(out);
    if (LIKELY(!(found | copy_line(out, PyUnicode_DATA(f->data), n)))) {
        memcpy(out + n, "\n\n", 2);
        return block;
    }
    Py_DECREF(block);
    return encode_scratch(f);
}

static PyObject *names[4]; /* event, id, retry, comment: interned */

ALWAYS_INLINE int name_index(PyObject *name)
{
    for (int i = 0; i < 4; i++)
        if (LIKELY(name == names[i]))
            return i;
    for (int i = 0; i < 4; i++)
        if (PyUnicode_Compare(name, names[i]) == 0)
            return i;
    return -1;
}

/* Data alone, ASCII: the commonest call, and nothing else in its way. */
ALWAYS_INLINE PyObject *encode_line(PyObject *data)
{
    size_t n = (size_t)PyUnicode_GET_LENGTH(data);
    PyObject *block = bytes_new(n + 8);
    if (UNLIKELY(block == NULL))
        return NULL;
    uint8_t *out = put_prefix((uint8_t *)PyBytes_AS_STRING(block));
    if (LIKELY(copy_line(out, PyUnicode_DATA(data), n) == ONE_LINE)) {
        memcpy(out + n, "\n\n", 2);
        return block;
    }
    Py_DECREF(block);
    Fields f = {data, NULL, NULL, NULL};
    return encode_scratch(&f);
}

NEVER_INLINE PyObject *encode_fields(PyObject *const *args, PyObject *keywords)
{
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    Py_ssize_t many = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < many; i++) {
        int at = name_index(PyTuple_GET_ITEM(keywords, i));
        if (UNLIKELY(at < 0)) {
            PyErr_SetString(PyExc_TypeError, "encode() got an unknown keyword");
            return NULL;
        }
        given[at] = args[1 + i] == Py_None ? NULL : args[1 + i];
    }
    Fields f = {args[0], given[0], given[1], given[2]};
    if (LIKELY(PyUnicode_CheckExact(f.data))) {
        if (PyUnicode_IS_ASCII(f.data) && f.retry == NULL && is_ascii(f.event) && is_ascii(f.id))
            return encode_ascii(&f);
    } else if (!PyBytes_CheckExact(f.data)) {
        refuse("the floor encodes str and bytes");
        return NULL;
    }
    return encode_scratch(&f);
}

static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    (void)module;
    if (UNLIKELY(count != 1)) {
        PyErr_SetString(PyExc_TypeError, "encode() takes data, and fields by keyword");
        return NULL;
    }
    if (LIKELY(keywords == NULL && PyUnicode_CheckExact(args[0]) && PyUnicode_IS_ASCII(args[0])))
        return encode_line(args[0]);
    return encode_fields(args, keywords);
}

static PyObject *json_dumps;

PyObject *floor_measured(PyObject *module, PyObject *callable);

static PyObject *encode_json(PyObject *module, PyObject *object)
{
    (void)module;
    PyObject *json = PyObject_CallOneArg(json_dumps, object);
    if (json == NULL)
        return NULL;
    size_t n = (size_t)PyBytes_GET_SIZE(json);
    PyObject *block = bytes_new(n + 8); /* JSON cannot hold a line end */
    if (block != NULL) {
        uint8_t *out = (uint8_t *)PyBytes_AS_STRING(block);
        out = put_prefix(out);
        memcpy(out, PyBytes_AS_STRING(json), n);
        memcpy(out + n, "\n\n", 2);
    }
    Py_DECREF(json);
    return block;
}

static PyObject *use_json(PyObject *module, PyObject *dumps)
{
    (void)module;
    Py_INCREF(dumps);
    Py_XSETREF(json_dumps, dumps);
    Py_RETURN_NONE;
}

static PyObject *encode_many(PyObject *module, PyObject *events)
{
    (void)module;
    if (!PyList_CheckExact(events)) {
        PyErr_SetString(PyExc_TypeError, "the floor encodes a list of its own events");
        return NULL;
    }
    PyObject *last_id = empty_text;
    scratch.size = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(events); i++) {
        Event *e = (Event *)PyList_GET_ITEM(events, i);
        if (!Py_IS_TYPE((PyObject *)e, &EventType)) {
            PyErr_SetString(PyExc_TypeError, "the floor encodes a list of its own events");
            return NULL;
        }
        int named = e->event != message_text && PyUnicode_Compare(e->event, message_text) != 0;
        int has_id = PyUnicode_GET_LENGTH(e->id) != 0 || PyUnicode_GET_LENGTH(last_id) != 0;
        Fields f = {e->data, named ? e->event : NULL, has_id ? e->id : NULL, e->retry == Py_None ? NULL : e->retry};
        last_id = e->id;
        if (append_block(&scratch, &f) < 0)
            return NULL;
    }
    return scratch_bytes();
}

/* Call something, in a frame that callgrind can be told to look for: benchmarks/instructions.py. */
__attribute__((noinline)) PyObject *floor_measured(PyObject *module, PyObject *callable)
{
    (void)module;
    return PyObject_CallNoArgs(callable);
}

/* ---- module ----------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"encode_json", encode_json, METH_O, NULL},
    {"encode_many", encode_many, METH_O, NULL},
    {"measured", floor_measured, METH_O, NULL},
    {"use_json", use_json, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "floor",
    .m_doc = "A hand-written codec, for measuring only.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_floor(void)
{
    static const char *const spelled[4] = {"event", "id", "retry", "comment"};
    for (int i = 0; i < 4; i++)
        if ((names[i] = PyUnicode_InternFromString(spelled[i])) == NULL)
            return NULL;
    empty_text = PyUnicode_InternFromString("");
    message_text = PyUnicode_InternFromString("message");
    if (empty_text == NULL || message_text == NULL)
        return NULL;
    PyObject *self = PyModule_Create(&module);
    if (self == NULL)
        return NULL;
    if (PyModule_AddType(self, &EventType) < 0 || PyModule_AddType(self, &DecoderType) < 0
        || PyModule_AddType(self, &SplitterType) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}
