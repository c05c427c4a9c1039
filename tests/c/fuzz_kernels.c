/* For libFuzzer: the first byte says how far the input lies from an unreadable page. */

#include "checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && size <= CHECK_MOST) {
        check_bytes(data + 1, size - 1, data[0] & 63);
        check_units(data + 1, size - 1, data[0] & 63);
    }
    return 0;
}
