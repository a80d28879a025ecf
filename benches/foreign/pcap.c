// libpcap's interpreter: one classic program per filter, one after the other until one accepts.
#include <sys/types.h>

#include <pcap/bpf.h>
#include <pcap/pcap.h>

#include "workload.h"

enum { LENGTH = 20 };
static struct bpf_insn (*programs)[LENGTH];

static int program(struct bpf_insn *at, int udp, uint64_t key) {
    int n = 0, tests = 0, places[LENGTH];
#define LOAD(size, where) at[n++] = (struct bpf_insn)BPF_STMT(BPF_LD | (size) | BPF_ABS, where)
#define TEST(kind, value, inverse)                                                        \
    (places[tests++] = (inverse) ? -n : n,                                                \
     at[n++] = (struct bpf_insn)BPF_JUMP(BPF_JMP | (kind) | BPF_K, value, 0, 0))
    uint32_t address = __builtin_bswap32((uint32_t)key);
    uint16_t port = __builtin_bswap16((uint16_t)(udp ? key : key >> 32));
    LOAD(BPF_H, 12), TEST(BPF_JEQ, 0x800, 0);
    LOAD(BPF_B, 14), TEST(BPF_JEQ, 0x45, 0);
    LOAD(BPF_H, 20), TEST(BPF_JSET, 0x1fff, 1);
    LOAD(BPF_B, 23), TEST(BPF_JEQ, udp ? 17 : 6, 0);
    LOAD(BPF_W, 30), TEST(BPF_JEQ, 0x0a000001, 0);
    if (!udp) {
        LOAD(BPF_W, 26), TEST(BPF_JEQ, address, 0);
        LOAD(BPF_H, 34), TEST(BPF_JEQ, port, 0);
    }
    LOAD(BPF_H, 36), TEST(BPF_JEQ, udp ? port : 443, 0);
    at[n++] = (struct bpf_insn)BPF_STMT(BPF_RET | BPF_K, 1);
    at[n] = (struct bpf_insn)BPF_STMT(BPF_RET | BPF_K, 0);
    for (int nth = 0; nth < tests; nth++) {
        int place = abs(places[nth]);
        *(places[nth] < 0 ? &at[place].jt : &at[place].jf) = n - place - 1;
    }
    return n + 1;
}

static void one_by_one(const struct workload *all, uint32_t first, uint32_t count, uint32_t *owners) {
    for (uint32_t nth = 0; nth < count; nth++) {
        const uint8_t *frame = all->frame + (size_t)(first + nth) * FRAME_BYTES;
        owners[nth] = 0;
        for (uint32_t filter = 0; filter < all->filters && !owners[nth]; filter++)
            if (bpf_filter(programs[filter], frame, FRAME_BYTES, FRAME_BYTES)) owners[nth] = filter + 1;
    }
}

int main(int count, char **words) {
    if (count < 2) refuse("which workload?");
    struct workload all = read_workload(words[1]);
    programs = calloc(all.filters, sizeof *programs);
    if (!programs) refuse("no memory");
    for (uint32_t nth = 0; nth < all.filters; nth++) program(programs[nth], all.udp, all.keys[nth]);
    struct row rows[] = {{"libpcap, interpreted one by one", one_by_one, 1, 0}};
    converse(&all, rows, 1);
}
