// Several programs in one section and in several; local functions in .text, in the program's own
// section and in another one; every kind of map; all three kinds of global data.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct address {
	__u32 bits;
	__u32 ip;
};

struct flow {
	__be32 source, destination;
	__be16 ports[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow);
	__type(value, __u64);
	__uint(max_entries, 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(key_size, 4);
	__uint(value_size, 16);
	__uint(max_entries, 64);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, __u32);
	__uint(max_entries, 128);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 5);
} verdicts SEC(".maps");

const volatile __u16 port = 7;
const char digits[16] = "0123456789abcdef";
__u64 limit = 3;
__u64 seen;
static volatile __u32 last;

static __noinline __u64 fold(__u64 sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	return (sum >> 16) + (sum & 0xffff);
}

// Global: called as any other, and no program, because it is in .text.
__noinline __u64 mix(__u64 a, __u64 b)
{
	return fold(a * 31 + b) ^ limit;
}

// A static function outside .text: pulled in, no program either.
SEC("xdp/shared") static __noinline int count(__u32 verdict)
{
	__u64 *value = bpf_map_lookup_elem(&verdicts, &verdict);

	if (value)
		*value += 1;
	return verdict;
}

SEC("xdp") int pass(struct xdp_md *ctx)
{
	seen += 1;
	return count(XDP_PASS);
}

SEC("xdp") int drop(struct xdp_md *ctx)
{
	return count(XDP_DROP);
}

SEC("xdp/flows") int flow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct udphdr *udp = (void *)(ip + 1);
	struct flow key = {};
	__u64 one = 1, *value;

	if ((void *)(udp + 1) > end)
		return count(XDP_PASS);
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return count(XDP_PASS);
	if (udp->dest != bpf_htons(port))
		return count(XDP_PASS);
	key.source = ip->saddr;
	key.destination = ip->daddr;
	key.ports[0] = udp->source;
	key.ports[1] = udp->dest;
	value = bpf_map_lookup_elem(&flows, &key);
	if (value) {
		*value = mix(*value, one);
		return count(*value > limit ? XDP_DROP : XDP_PASS);
	}
	bpf_map_update_elem(&flows, &key, &one, BPF_ANY);
	last = ip->saddr;
	return count(XDP_PASS);
}

SEC("xdp/digit") int digit(struct xdp_md *ctx)
{
	__u32 at = bpf_get_prandom_u32() & 15;

	last += at;
	return digits[at] > digits[last & 15] ? XDP_DROP : XDP_PASS;
}

SEC("xdp/routes") int route(struct xdp_md *ctx)
{
	struct address key = { .bits = 32, .ip = ctx->ingress_ifindex };
	__u32 *found = bpf_map_lookup_elem(&routes, &key);
	__u64 stamp[2] = { bpf_ktime_get_ns(), 0 };

	if (found)
		bpf_map_update_elem(&recent, &key.ip, stamp, BPF_ANY);
	return found ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
