/* Every kernel of csrc against a plain one, on one input. Used by test_kernels.c and fuzz_kernels.c. */
#ifndef FASTSSE_CHECKS_H
#define FASTSSE_CHECKS_H

#include <stddef.h>
#include <stdint.h>

enum { CHECK_MOST = 1 << 17 }; /* bytes of one input */

/* Check all kernels, in all their bodies, with `size` bytes as bytes and as text of every width. The input lies
 * `slack` bytes before an unreadable page; what is written ends at another. Prints and aborts at a difference.
 */
void check_bytes(const uint8_t *bytes, size_t size, size_t slack);
void check_utf8(const uint8_t *bytes, size_t size, size_t slack); /* what is read as text, alone */
void check_escapes(const uint8_t *bytes, size_t size, size_t slack); /* what is read as a form, alone */
void check_units(const uint8_t *bytes, size_t size, size_t slack);

#endif
