// In front of a TCP listener: only sources that exist get to it.
//
// The first SYN of a source is answered by an acknowledgement that cannot be right: a number made of the
// connection and a secret. A host that exists answers with a reset that carries that number (RFC 9293,
// 3.10.7.3), is remembered, and its SYN, sent again, is passed on. Who made its address up never sees the
// number, and nothing is kept for it. Nothing else of strangers reaches the listener: connections have
// bindings of their own.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "back.h"

// How long a number is good, as a power of two of nanoseconds (8.6 s), twice; and a source, an hour.
#define EPOCH_SHIFT 33
#define REMEMBERED_NS 3600000000000ULL

struct segment {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

// When each source was seen to exist.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __be32);
	__type(value, __u64);
	__uint(max_entries, 4096);
} sources SEC(".maps");

// Of examples/src/bin/guarded.rs. The library OS sets the secret.
struct state {
	__u64 secret[2];
	__u64 challenged, known, passed, dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct state);
	__uint(max_entries, 1);
} guard SEC(".maps");

static __always_inline __u64 rotate(__u64 word, int by)
{
	return word << by | word >> (64 - by);
}

#define ROUND(v0, v1, v2, v3)                                                                                     \
	v0 += v1;                                                                                                 \
	v1 = rotate(v1, 13) ^ v0;                                                                                 \
	v0 = rotate(v0, 32);                                                                                      \
	v2 += v3;                                                                                                 \
	v3 = rotate(v3, 16) ^ v2;                                                                                 \
	v0 += v3;                                                                                                 \
	v3 = rotate(v3, 21) ^ v0;                                                                                 \
	v2 += v1;                                                                                                 \
	v1 = rotate(v1, 17) ^ v2;                                                                                 \
	v2 = rotate(v2, 32);

// SipHash-1-3 of two words (Aumasson and Bernstein, 2012), its lower half.
static __always_inline __u32 number(const struct state *state, __u64 connection, __u64 epoch)
{
	__u64 v0 = state->secret[0] ^ 0x736f6d6570736575ULL, v1 = state->secret[1] ^ 0x646f72616e646f6dULL;
	__u64 v2 = state->secret[0] ^ 0x6c7967656e657261ULL, v3 = state->secret[1] ^ 0x7465646279746573ULL;
	__u64 end = 16ULL << 56;

	v3 ^= connection;
	ROUND(v0, v1, v2, v3)
	v0 ^= connection;
	v3 ^= epoch;
	ROUND(v0, v1, v2, v3)
	v0 ^= epoch;
	v3 ^= end;
	ROUND(v0, v1, v2, v3)
	v0 ^= end;
	v2 ^= 0xff;
	ROUND(v0, v1, v2, v3)
	ROUND(v0, v1, v2, v3)
	ROUND(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3;
}

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return ~((sum >> 16) + (sum & 0xffff));
}

static __always_inline __u32 sum_words(const void *at, int words)
{
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < words; i++)
		sum += ((const __u16 *)at)[i];
	return sum;
}

// The SYN becomes its challenge: a SYN with an acknowledgement of what was never sent.
static __always_inline void challenge(struct segment *s, __u32 acknowledged)
{
	__be16 port = s->tcp.source;

	back(&s->ethernet, &s->ip);
	s->ip.tot_len = bpf_htons(sizeof(struct iphdr) + sizeof(struct tcphdr));
	s->ip.id = 0;
	s->ip.tos = 0;
	s->ip.frag_off = bpf_htons(0x4000);
	s->ip.ttl = 64;
	s->ip.check = 0;
	s->ip.check = folded(sum_words(&s->ip, 10));
	s->tcp.source = s->tcp.dest;
	s->tcp.dest = port;
	s->tcp.seq = 0;
	s->tcp.ack_seq = bpf_htonl(acknowledged);
	// Five words of header; SYN and ACK.
	((__u8 *)&s->tcp)[12] = 0x50;
	((__u8 *)&s->tcp)[13] = 0x12;
	s->tcp.window = 0;
	s->tcp.urg_ptr = 0;
	s->tcp.check = 0;
	__u32 pseudo = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(struct tcphdr)) + sum_words(&s->ip.saddr, 4);
	s->tcp.check = folded(pseudo + sum_words(&s->tcp, 10));
}

static __always_inline int judge(struct xdp_md *ctx, struct state *state)
{
	void *end = (void *)(long)ctx->data_end;
	struct segment *s = (void *)(long)ctx->data;

	if ((void *)(s + 1) > end)
		return XDP_DROP;
	if (s->ethernet.h_dest[0] & 1 || s->ethernet.h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (s->ip.version != 4 || s->ip.protocol != IPPROTO_TCP || s->ip.frag_off & bpf_htons(0x3fff))
		return XDP_DROP;
	__be32 source = s->ip.saddr;
	__u64 now = bpf_ktime_get_ns(), epoch = now >> EPOCH_SHIFT;
	__u64 *seen = bpf_map_lookup_elem(&sources, &source);
	if (seen && now - *seen < REMEMBERED_NS)
		return XDP_PASS;
	// Options stand before the ports; hardly anybody has a reason for them.
	if (s->ip.ihl != 5)
		return XDP_DROP;
	__u8 flags = ((__u8 *)&s->tcp)[13] & 0x17;
	__u64 connection = (__u64)source << 32 | s->tcp.source | (__u32)s->tcp.dest << 16;
	if (flags == 0x04) {
		__u32 told = bpf_ntohl(s->tcp.seq);

		if (told != number(state, connection, epoch) && told != number(state, connection, epoch - 1))
			return XDP_DROP;
		__sync_fetch_and_add(&state->known, 1);
		bpf_map_update_elem(&sources, &source, &now, BPF_ANY);
		return XDP_DROP;
	}
	// The same port on both sides, and our own address, would be answered for ever.
	if (flags != 0x02 || s->tcp.source == s->tcp.dest || source == s->ip.daddr)
		return XDP_DROP;
	__u32 wrong = number(state, connection, epoch);
	// One in four thousand million would be right by chance: its next attempt is another.
	if (wrong == bpf_ntohl(s->tcp.seq) + 1)
		return XDP_DROP;
	challenge(s, wrong);
	long length = (void *)(long)ctx->data_end - (void *)(long)ctx->data;
	asm volatile("" : "+r"(length));
	if (bpf_xdp_adjust_tail(ctx, (int)sizeof(struct segment) - (int)length))
		return XDP_ABORTED;
	return XDP_TX;
}

SEC("xdp") int syn(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct state *state = bpf_map_lookup_elem(&guard, &zero);

	if (!state)
		return XDP_DROP;
	int verdict = judge(ctx, state);
	__u64 *count = verdict == XDP_TX ? &state->challenged :
		       verdict == XDP_PASS ? &state->passed : &state->dropped;
	__sync_fetch_and_add(count, 1);
	return verdict;
}

char _license[] SEC("license") = "Dual MIT/GPL";
