// Handlers in uBPF's compiler, a turn at a time.
//
// Says "ready", then answers each line: `load <bytecode>` with "ok" or why not, `run <frame>` with
// r0 and the frame afterwards, `turn <calls>` with the nanoseconds of processor time of one call.
// Bytes are in hexadecimal digits. A program's memory is two words, the ends of the frame.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ubpf.h>

enum { FRAME_MAX = 2048, LINE_MAX = 1 << 20 };

static unsigned char frame[FRAME_MAX];
static unsigned char bytes[LINE_MAX / 2];
static char line[LINE_MAX];
static ubpf_jit_fn compiled;

static size_t from_hex(const char* text, unsigned char* into, size_t most)
{
    size_t count = 0;
    unsigned int byte;
    while (count < most && sscanf(text + 2 * count, "%2x", &byte) == 1)
        into[count++] = (unsigned char)byte;
    return count;
}

static void load(const char* text)
{
    size_t count = from_hex(text, bytes, sizeof bytes);
    char* why = NULL;
    struct ubpf_vm* machine = ubpf_create();
    // Programs come proven; without this the compiler makes tests of its own.
    ubpf_toggle_bounds_check(machine, false);
    if (ubpf_load(machine, bytes, (uint32_t)count, &why) == 0)
        compiled = ubpf_compile(machine, &why);
    else
        compiled = NULL;
    puts(compiled ? "ok" : why ? why : "refused");
    free(why);
}

static uint64_t call(size_t length)
{
    uint64_t ends[2] = {(uintptr_t)frame, (uintptr_t)frame + length};
    return compiled(ends, sizeof ends);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(void)
{
    size_t length = 0;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "load ", 5) == 0) {
            load(line + 5);
        } else if (strncmp(line, "run ", 4) == 0 && compiled) {
            length = from_hex(line + 4, frame, sizeof frame);
            printf("%llu ", (unsigned long long)call(length));
            for (size_t at = 0; at < length; at++)
                printf("%02x", frame[at]);
            puts("");
        } else if (strncmp(line, "turn ", 5) == 0 && compiled) {
            long count = atol(line + 5);
            volatile uint64_t sum = 0;
            double start = now();
            for (long at = 0; at < count; at++)
                sum += call(length);
            printf("%f\n", (now() - start) / (double)count);
        } else {
            puts("what?");
        }
        fflush(stdout);
    }
    return 0;
}
