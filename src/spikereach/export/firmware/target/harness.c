/* Runs an exported decoder over the bins in flash and writes to results.bin, by semihosting, what
   `Results` holds. BINS is given by the build. */
#include <stddef.h>
#include <stdint.h>

#include "decoder.h"

#define BYTES ((DECODER_CHANNELS + 7) / 8)
#define PROBES 6
#define PAINT 0xa5c3e197u
/* What `counted` itself lays on the stack. */
#define FRAME 16u

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_EXIT = 0x18, BINARY = 5, EXITED = 0x20026 };

typedef void (*Function)(void *, const void *, void *);

extern const uint8_t input[];
extern uint32_t __stack_limit[];
void known(uint32_t count);
uint32_t counted(void *, const void *, void *, Function function);
uint32_t semihosting(uint32_t operation, const void *argument);
uintptr_t stack_pointer(void);
void harness(void);

static struct Results {
    uint32_t probes[PROBES]; /* counts of `known`, by which the host checks the counter */
    uint32_t stack;          /* bytes of the deepest step */
    struct {
        uint32_t count;
        int32_t velocity[2];
    } bins[BINS];
} results;

static decoder_state state __attribute__((section(".state")));

void harness(void)
{
    static const uint32_t loops[PROBES] = {1, 2, 3, 10, 1000, 65536};
    volatile uint32_t *const bottom = __stack_limit;
    const uintptr_t top = stack_pointer();

    for (size_t i = 0; i < PROBES; i++) {
        results.probes[i] = counted((void *)(uintptr_t)loops[i], 0, 0, (Function)known);
    }
    for (volatile uint32_t *word = bottom; (uintptr_t)word < top; word++) {
        *word = PAINT;
    }
    decoder_init(&state);
    for (size_t bin = 0; bin < BINS; bin++) {
        results.bins[bin].count = counted(&state, input + bin * BYTES,
                                          results.bins[bin].velocity, (Function)decoder_step);
    }
    volatile uint32_t *deepest = bottom;
    while ((uintptr_t)deepest < top && *deepest == PAINT) {
        deepest++;
    }
    results.stack = top - FRAME - (uintptr_t)deepest;

    static const char name[] = "results.bin";
    const uintptr_t opening[3] = {(uintptr_t)name, BINARY, sizeof name - 1};
    const uint32_t file = semihosting(SYS_OPEN, opening);
    const uintptr_t writing[3] = {file, (uintptr_t)&results, sizeof results};
    semihosting(SYS_WRITE, writing);
    semihosting(SYS_EXIT, (const void *)EXITED);
    for (;;) {
    }
}
