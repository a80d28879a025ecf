// A filter, a handler and a memory program in one object, without maps; one type that does not run
// here.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

SEC("filter") int arp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return 0;
	return eth->h_proto == bpf_htons(ETH_P_ARP);
}

SEC("xdp") int swap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u8 byte;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	for (int i = 0; i < ETH_ALEN; i++) {
		byte = eth->h_dest[i];
		eth->h_dest[i] = eth->h_source[i];
		eth->h_source[i] = byte;
	}
	return XDP_TX;
}

SEC("memory") __u64 first(__u8 *memory, __u64 length)
{
	return length >= 1 ? memory[0] : 0;
}

SEC("tc") int classify(struct __sk_buff *skb)
{
	return skb->len > 100;
}

char _license[] SEC("license") = "MIT";
