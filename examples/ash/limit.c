// A rate limiter in front of an echo: so many packets of one source in a window are answered, the rest is
// dropped before it costs anything.
//
// Counted by source address (LRU: new sources push out old ones). The library OS sets the limit and the
// window, and reads the drops.
#include "udp.h"

struct count {
	// When the window began, in nanoseconds since boot, and packets since then.
	__u64 began, packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __be32);
	__type(value, struct count);
	__uint(max_entries, 64);
} sources SEC(".maps");

// Of examples/src/bin/limiter.rs.
struct policy {
	__u64 limit, window_ns, dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct policy);
	__uint(max_entries, 1);
} policy SEC(".maps");

// Whether the source has had its share.
static __always_inline int over(const struct iphdr *ip, struct policy *policy)
{
	__be32 source = ip->saddr;
	__u64 now = bpf_ktime_get_ns();
	struct count *count = bpf_map_lookup_elem(&sources, &source);

	if (!count) {
		struct count first = { .began = now, .packets = 1 };

		// Without room nobody is counted, and everybody is served.
		bpf_map_update_elem(&sources, &source, &first, BPF_ANY);
		return policy->limit == 0;
	}
	if (now - count->began >= policy->window_ns) {
		count->began = now;
		count->packets = 0;
	}
	count->packets++;
	if (count->packets <= policy->limit)
		return 0;
	__sync_fetch_and_add(&policy->dropped, 1);
	return 1;
}

SEC("xdp") int limit(struct xdp_md *ctx)
{
	struct datagram *d = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	int payload = find(d, end);
	__u32 zero = 0;
	struct policy *now = bpf_map_lookup_elem(&policy, &zero);

	// The same port on both sides would be answered for ever.
	if (payload < 0 || !now || d->udp.source == d->udp.dest || over(&d->ip, now))
		return XDP_DROP;
	// Swapping words that a checksum covers leaves it as it is.
	mirror(d);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual MIT/GPL";
