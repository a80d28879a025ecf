// NTP: a client's question is answered with the time, and with what the library OS says of the clock.
//
// Only mode 3 of versions 1 to 4 is a question, and an answer is never longer than it (RFC 5905). With a
// clock that nobody has set the answer says so. Everything else is passed on.
#include "udp.h"

#define NANOS 1000000000ULL
#define QUESTION_WORDS 64

// Of examples/src/ntp.rs.
struct time {
	// Nanoseconds since 1900 at boot.
	__u64 boot_ns;
	__u8 reference[8];
	__u8 leap, stratum;
	__s8 precision;
	__u8 zero;
	__u8 root[8];
	__u8 id[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct time);
	__uint(max_entries, 1);
} clock SEC(".maps");

struct packet {
	__u8 mode, stratum, poll;
	__s8 precision;
	__u8 root[8], id[4], reference[8];
	__be64 originate, received, transmitted;
} __attribute__((packed));

__u64 answered;

SEC("xdp") int ntp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	int payload = find(data, end);
	__u32 zero = 0;

	if (payload < (int)sizeof(struct packet) || payload > 2 * QUESTION_WORDS)
		return XDP_PASS;
	struct packet *packet = data + HEADERS;
	if ((void *)(packet + 1) > end)
		return XDP_PASS;
	__u32 version = packet->mode >> 3 & 7;
	if ((packet->mode & 7) != 3 || version < 1 || version > 4)
		return XDP_PASS;
	struct datagram *d = data;
	if (d->udp.check && !intact(d, sum_bytes(data + HEADERS, payload, end, QUESTION_WORDS)))
		return XDP_PASS;
	struct time *time = bpf_map_lookup_elem(&clock, &zero);
	if (!time)
		return XDP_PASS;
	if (resize(ctx, sizeof(struct packet)))
		return XDP_PASS;
	d = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	packet = (void *)(d + 1);
	if ((void *)(packet + 1) > end)
		return XDP_ABORTED;
	__u64 ns = time->boot_ns + bpf_ktime_get_ns();
	__be64 now = bpf_cpu_to_be64(ns / NANOS << 32 | (ns % NANOS << 32) / NANOS);
	packet->mode = time->leap << 6 | version << 3 | 4;
	packet->stratum = time->stratum;
	packet->precision = time->precision;
	__builtin_memcpy(packet->root, time->root, 8);
	__builtin_memcpy(packet->id, time->id, 4);
	__builtin_memcpy(packet->reference, time->reference, 8);
	packet->originate = packet->transmitted;
	packet->received = now;
	packet->transmitted = now;
	turn(d, sizeof(struct packet), sum_bytes((void *)packet, sizeof(struct packet), end, 24));
	__sync_fetch_and_add(&answered, 1);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual MIT/GPL";
