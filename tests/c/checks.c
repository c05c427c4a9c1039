/* The plain kernels are written from the standards, byte by byte, and share nothing with csrc. */

#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block.h"
#include "choose.h"
#include "sse.h"

static const char *body_name = "-";

#define CHECK(condition) ((condition) ? (void)0 : differs(#condition, __LINE__))

static const uint8_t *shown;
static size_t shown_size;

static void differs(const char *condition, int line)
{
    fprintf(stderr, "checks.c:%d: not so: %s\nbody %s, input of %zu bytes:", line, condition, body_name, shown_size);
    for (size_t i = 0; i < shown_size && i < 400; i++) {
        fprintf(stderr, " %02x", shown[i]);
    }
    fprintf(stderr, "\n");
    abort();
}

/* Memory between two unreadable pages. */

typedef struct {
    uint8_t *begin, *end;
} arena;

static arena arena_new(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (size + page - 1) / page * page;
    uint8_t *all = mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) || mprotect(all + page + inner, page, PROT_NONE)) {
        perror("mmap");
        exit(2);
    }
    return (arena){all + page, all + page + inner};
}

static arena input, output;
static sse_line *wanted;
static size_t wanted_count;
static uint32_t *codes;
static uint8_t *bytes_wanted;

static void prepare(void)
{
    if (input.begin == NULL) {
        input = arena_new(CHECK_MOST + 64);
        output = arena_new(8 * CHECK_MOST + 64);
        wanted = malloc((CHECK_MOST + 1) * sizeof *wanted);
        codes = malloc((CHECK_MOST + 1) * sizeof *codes);
        bytes_wanted = malloc(16 * CHECK_MOST);
        if (!wanted || !codes || !bytes_wanted) {
            perror("malloc");
            exit(2);
        }
    }
}

/* Lines. */

static void plain_lines(const uint8_t *p, size_t size)
{
    size_t begin = 0, i = 0;
    wanted_count = 0;
    while (i <= size) {
        if (i == size || p[i] == '\r' || p[i] == '\n') {
            sse_line line = {p + begin, i - begin, 0};
            for (size_t k = begin; k < i; k++) {
                line.high |= p[k] >= 0x80;
            }
            wanted[wanted_count++] = line;
            i += i + 1 < size && p[i] == '\r' && p[i + 1] == '\n' ? 2 : 1;
            begin = i;
        } else {
            i++;
        }
    }
}

static void check_line(const sse_line *line, const sse_line *expected)
{
    CHECK(line->text == expected->text);
    CHECK(line->size == expected->size);
    CHECK((line->high != 0) == (expected->high != 0));
}

static void check_split(const sse_body *body, const uint8_t *p, size_t size)
{
    sse_line lines[SSE_LINES];
    sse_scan scan;
    size_t count = 0;

    sse_begin(&scan, p, size);
    while (scan.block < scan.end) {
        const size_t found = body->split(&scan, lines);
        CHECK(found <= SSE_LINES && count + found < wanted_count);
        for (size_t i = 0; i < found; i++) {
            check_line(&lines[i], &wanted[count++]);
        }
    }
    CHECK(scan.block == scan.end);
    CHECK(count == wanted_count - 1);
    check_line(&scan.rest, &wanted[count]);
}

static void check_copy(const sse_body *body, const uint8_t *p, size_t size)
{
    uint8_t *to = output.end - size;
    int expected = 0, met;
    for (size_t i = 0; i < size; i++) {
        expected |= p[i] == '\r' || p[i] == '\n' ? SSE_LINE_END : 0;
        expected |= p[i] == 0 ? SSE_NUL : 0;
        expected |= p[i] >= 0x80 ? SSE_NOT_ASCII : 0;
    }
    memset(to, 0x55, size);
    met = size < 16 ? sse_copy_short(to, p, size) : body->copy_long(to, p, size);
    if (expected & SSE_LINE_END) {
        CHECK(met & SSE_LINE_END);
    } else {
        CHECK(met == expected);
        CHECK(memcmp(to, p, size) == 0);
    }
}

static void check_large(const sse_body *body, const uint8_t *p, size_t size)
{
    uint8_t *to = output.end - size;
    if (size >= 64) {
        memset(to, 0x55, size);
        body->copy_large(to, p, size);
        CHECK(memcmp(to, p, size) == 0);
    }
}

static void check_values(void)
{
    uint8_t *to;
    size_t at = 0;
    for (size_t i = 0; i < wanted_count; i++) {
        at += i > 0;
        memcpy(bytes_wanted + at, wanted[i].text, wanted[i].size);
        bytes_wanted[at + wanted[i].size] = '\n';
        at += wanted[i].size;
    }
    to = output.end - at;
    memset(to, 0x55, at);
    sse_join(to, wanted, wanted_count);
    CHECK(memcmp(to, bytes_wanted, at) == 0);
}

/* UTF-8 by Unicode's table 3-7: for each lead, the range of its second byte, and how many bytes it begins. */

typedef struct {
    uint8_t first, last, low, high, size;
} well_formed;

static const well_formed table_3_7[] = {
    {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* The code points of UTF-8, U+FFFD for each maximal subpart; returns how many. */
static size_t plain_decode(const uint8_t *p, size_t size, int *valid)
{
    size_t count = 0, i = 0;
    *valid = 1;
    while (i < size) {
        const well_formed *row = NULL;
        for (size_t k = 0; k < sizeof table_3_7 / sizeof table_3_7[0]; k++) {
            if (p[i] >= table_3_7[k].first && p[i] <= table_3_7[k].last) {
                row = &table_3_7[k];
            }
        }
        size_t length = 1;
        uint32_t code = p[i];
        if (row != NULL && row->size > 1) {
            code = p[i] & (0xffu >> (row->size + 1));
            while (length < row->size && i + length < size) {
                const uint8_t byte = p[i + length];
                if (byte < (length == 1 ? row->low : 0x80) || byte > (length == 1 ? row->high : 0xbf)) {
                    break;
                }
                code = code << 6 | (byte & 0x3f);
                length++;
            }
        }
        if (row == NULL || length < row->size) {
            code = 0xfffd;
            *valid = 0;
        }
        codes[count++] = code;
        i += length;
    }
    return count;
}

static uint32_t top_of(size_t count)
{
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        most = codes[i] > most ? codes[i] : most;
    }
    return most < 0x80 ? 0x7f : most < 0x100 ? 0xff : most < 0x10000 ? 0xffff : 0x10ffff;
}

static void check_written(const uint8_t *at, int width, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t code = 0;
        uint16_t unit;
        if (width == 1) {
            code = at[i];
        } else if (width == 2) {
            memcpy(&unit, at + 2 * i, 2);
            code = unit;
        } else {
            memcpy(&code, at + 4 * i, 4);
        }
        CHECK(code == codes[i]);
    }
}

static void check_text(const uint8_t *p, size_t size)
{
    int valid;
    const size_t count = plain_decode(p, size, &valid);
    const uint32_t top = top_of(count);
    const int least = top < 0x100 ? 1 : top < 0x10000 ? 2 : 4;
    const sse_text measured = sse_measure_text(p, size), replaced = sse_measure_replaced(p, size);

    CHECK(sse_is_utf8(p, size) == valid);
    CHECK(replaced.length == count);
    CHECK(replaced.top == top);
    for (int width = least; width <= 4; width *= 2) {
        uint8_t *to = output.end - count * (size_t)width;
        CHECK(sse_write_replaced(to, width, p, size) == output.end);
        check_written(to, width, count);
    }
    if (valid) {
        CHECK(measured.length == count);
        CHECK(measured.top == top);
    }
    /* Bytes that are not UTF-8 must not be written beyond their measure either. */
    for (int width = measured.top < 0x100 ? 1 : measured.top < 0x10000 ? 2 : 4; width <= 4; width *= 2) {
        uint8_t *to = output.end - measured.length * (size_t)width;
        void *stop = sse_write_text(to, output.end, width, p, size);
        CHECK(stop == (valid ? output.end : NULL));
        if (valid) {
            check_written(to, width, count);
        }
    }
}

/* Text as lines of UTF-8. */

static uint32_t unit_at(const uint8_t *text, size_t i, int form)
{
    uint16_t two;
    uint32_t four;
    switch (form) {
    case SSE_UCS2:
        memcpy(&two, text + 2 * i, 2);
        return two;
    case SSE_UCS4:
        memcpy(&four, text + 4 * i, 4);
        return four;
    default:
        return text[i];
    }
}

static size_t plain_encode(uint32_t code, int form, uint8_t *to)
{
    if (code < 0x80 || form == SSE_BYTES) {
        to[0] = (uint8_t)code;
        return 1;
    }
    const size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6) {
        to[i] = (uint8_t)(0x80 | (code & 0x3f));
    }
    to[0] = (uint8_t)((0xf00u >> size & 0xff) | code);
    return size;
}

/* Data lines, written at `to`: returns their size. `lines` is how many, `valid` is 0 when there is a surrogate. */
static size_t plain_data(uint8_t *to, const uint8_t *text, size_t length, int form, size_t *lines, int *valid)
{
    static const char head[] = "data: ";
    const size_t head_size = sizeof head - 1;
    size_t at = head_size;

    *lines = 1;
    *valid = 1;
    memcpy(to, head, head_size);
    for (size_t i = 0; i < length; i++) {
        const uint32_t code = unit_at(text, i, form);
        if (code == '\n' || code == '\r') {
            i += code == '\r' && i + 1 < length && unit_at(text, i + 1, form) == '\n';
            to[at++] = '\n';
            memcpy(to + at, head, head_size);
            at += head_size;
            ++*lines;
            continue;
        }
        at += plain_encode(code, form, to + at);
        *valid = *valid && (form == SSE_BYTES || code < 0xd800 || code > 0xdfff);
    }
    to[at++] = '\n';
    return at;
}

static void check_data(const uint8_t *text, size_t length, int form)
{
    size_t lines;
    int valid;
    const size_t at = plain_data(bytes_wanted, text, length, form, &lines, &valid), size = at - 7 * lines;

    const sse_lines measured = sse_measure_lines(text, length, form);
    CHECK(measured.size == size);
    CHECK(measured.lines == lines);
    CHECK(at <= sse_most(length));
    for (size_t room = 0; room <= 40; room += 20) { /* with and without room behind it, which `stop` tells */
        uint8_t *to = output.end - at - room;
        memset(to, 0x55, at + room);
        uint8_t *stop = sse_write_data(to, output.end, text, length, form);
        CHECK(stop == (valid ? to + at : NULL));
        CHECK(!valid || memcmp(to, bytes_wanted, at) == 0);
    }
}

/* Blocks. */

static int has_any(const uint8_t *p, size_t size, int kinds)
{
    for (size_t i = 0; i < size; i++) {
        if ((kinds & SSE_LINE_END && (p[i] == '\r' || p[i] == '\n')) || (kinds & SSE_NUL && p[i] == 0) ||
            (kinds & SSE_NOT_ASCII && p[i] >= 0x80)) {
            return 1;
        }
    }
    return 0;
}

static size_t plain_field(uint8_t *to, const char *name, const void *value, size_t size)
{
    const size_t head = (size_t)sprintf((char *)to, "%s: ", name);
    memcpy(to + head, value, size);
    to[head + size] = '\n';
    return head + size + 1;
}

/* One block: its first bytes are the id, the next ones the event type, the others the data. */
static void check_block(const uint8_t *p, size_t size, size_t id_size, size_t event_size, int line)
{
    const uint8_t *const id = p, *const event = p + id_size, *const data = p + id_size + event_size;
    const size_t length = size - id_size - event_size;
    const uint64_t retry = size % 3 ? (uint64_t)length * length * length : UINT64_MAX;
    sse_block block = {.data = data, .length = length, .form = SSE_BYTES, .unchecked = 1, .line = line};
    size_t at = 0, lines;
    int valid = 1, ignored;

    if (id_size) {
        block.id = id;
        block.id_size = id_size;
        at += plain_field(bytes_wanted + at, "id", id, id_size);
        valid = valid && !has_any(id, id_size, SSE_LINE_END | SSE_NUL | SSE_NOT_ASCII);
    }
    if (event_size) {
        block.event = event;
        block.event_size = event_size;
        at += plain_field(bytes_wanted + at, "event", event, event_size);
        valid = valid && !has_any(event, event_size, SSE_LINE_END);
    }
    if (size % 2) {
        char digits[24];
        const int count = sprintf(digits, "%llu", (unsigned long long)retry);
        sse_put_retry(&block, retry);
        at += plain_field(bytes_wanted + at, "retry", digits, (size_t)count);
    }
    at += plain_data(bytes_wanted + at, data, length, SSE_BYTES, &lines, &ignored);
    bytes_wanted[at++] = '\n';
    (void)plain_decode(data, length, &ignored);
    valid = valid && ignored && !(line && lines > 1);

    CHECK(line || sse_measure_block(&block) == at);
    CHECK(line ? lines > 1 || sse_most_block(&block) == at : sse_most_block(&block) >= at);
    const size_t room = line ? sse_most_block(&block) : at;
    uint8_t *const to = output.end - room;
    memset(to, 0x55, room);
    const uint8_t *const stop = sse_write_block(&block, to, output.end);
    CHECK(stop == (valid ? to + at : NULL));
    CHECK(!valid || memcmp(to, bytes_wanted, at) == 0);
}

static void check_blocks(const sse_body *body, const uint8_t *p, size_t size)
{
    sse_copy_long = body->copy_long;
    for (int line = 0; line < 2; line++) {
        check_block(p, size, 0, 0, line);
        check_block(p, size, size / 3, 0, line);
        check_block(p, size, 0, size / 5, line);
        check_block(p, size, size / 7, size / 3, line);
    }
}

/* Escapes. */

static int hex_value(uint8_t byte)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    for (int value = 0; value < 16; value++) {
        if (byte == (uint8_t)lower[value] || byte == (uint8_t)upper[value]) {
            return value;
        }
    }
    return -1;
}

static void check_escapes_at(const uint8_t *p, size_t size)
{
    size_t count = 0, broken = size, at = 0;
    for (size_t i = 0; i < size; i++) {
        count += p[i] == '%';
    }
    for (size_t i = 0; i < size && broken == size; i++) {
        if (p[i] == '%') {
            if (i + 2 >= size || hex_value(p[i + 1]) < 0 || hex_value(p[i + 2]) < 0) {
                broken = i;
            } else {
                bytes_wanted[at++] = (uint8_t)(16 * hex_value(p[i + 1]) + hex_value(p[i + 2]));
                i += 2;
            }
        } else {
            bytes_wanted[at++] = p[i] == '+' ? ' ' : p[i];
        }
    }

    const sse_escapes measured = sse_measure_escapes(p, size);
    CHECK(measured.count == count);
    CHECK(measured.broken == broken);
    if (broken == size) {
        uint8_t *to = output.end - (size - 2 * count);
        CHECK(at == size - 2 * count);
        memset(to, 0x55, at);
        sse_write_unescaped(to, p, size);
        CHECK(memcmp(to, bytes_wanted, at) == 0);
    }
}

static uint8_t *place(const uint8_t *bytes, size_t size, size_t slack)
{
    uint8_t *p;
    prepare();
    shown = bytes;
    shown_size = size;
    p = input.end - slack - size;
    memcpy(p, bytes, size);
    return p;
}

void check_bytes(const uint8_t *bytes, size_t size, size_t slack)
{
    const uint8_t *p = place(bytes, size, slack);
    size_t count;
    const sse_body *bodies = sse_bodies(&count);

    plain_lines(p, size);
    for (size_t i = 0; i < count; i++) {
        body_name = bodies[i].name;
        check_split(&bodies[i], p, size);
        check_copy(&bodies[i], p, size);
        check_large(&bodies[i], p, size);
        check_blocks(&bodies[i], p, size);
    }
    body_name = "-";
    check_values();
    check_data(p, size, SSE_BYTES);
    check_text(p, size);
    check_data(p, size, SSE_LATIN1);
    check_escapes_at(p, size);
}

void check_escapes(const uint8_t *bytes, size_t size, size_t slack)
{
    check_escapes_at(place(bytes, size, slack), size);
}

void check_utf8(const uint8_t *bytes, size_t size, size_t slack)
{
    const uint8_t *p = place(bytes, size, slack);
    check_text(p, size);
}

void check_units(const uint8_t *bytes, size_t size, size_t slack)
{
    uint8_t *p = place(bytes, size & ~(size_t)1, slack & ~(size_t)1);
    check_data(p, size / 2, SSE_UCS2);

    p = place(bytes, size & ~(size_t)3, slack & ~(size_t)3);
    for (size_t i = 0; i < size / 4; i++) { /* a str has no code points beyond these */
        const uint32_t code = unit_at(p, i, SSE_UCS4) % 0x110000;
        memcpy(p + 4 * i, &code, 4);
    }
    check_data(p, size / 4, SSE_UCS4);
}
