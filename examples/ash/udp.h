// A UDP datagram over IPv4, looked at and answered in place: what the handlers here share.
//
// A handler looks at the packet with find(), which accepts nothing but a whole, unfragmented datagram to
// this station alone; verifies it with intact() if it makes a checksum of its own; and answers with
// turn(). Sums are one's-complement sums of 16-bit words in the packet's byte order (RFC 1071).
#ifndef UDP_H
#define UDP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "back.h"

#define HEADERS (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + (sum & 0xffff);
}

// The sum of an IPv4 header without options; 0xffff if its checksum is right.
static __always_inline __u32 sum_ip(const struct iphdr *ip)
{
	const __u16 *words = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	return fold(sum);
}

struct datagram {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

// Bytes of the datagram's payload if the frame holds a whole one, else -1. With IPv4 options -1: the
// library OS takes those.
static __always_inline int find(const struct datagram *d, const void *end)
{
	if ((const void *)(d + 1) > end)
		return -1;
	if (d->ethernet.h_dest[0] & 1 || d->ethernet.h_proto != bpf_htons(ETH_P_IP))
		return -1;
	if (d->ip.version != 4 || d->ip.ihl != 5 || d->ip.protocol != IPPROTO_UDP)
		return -1;
	if (d->ip.frag_off & bpf_htons(0xbfff) || sum_ip(&d->ip) != 0xffff)
		return -1;
	__u32 total = bpf_ntohs(d->ip.tot_len), length = bpf_ntohs(d->udp.len);
	if (total > ETH_DATA_LEN || length < sizeof(struct udphdr))
		return -1;
	if (total != sizeof(struct iphdr) + length)
		return -1;
	// The frame may be longer, because a short one is padded, but not shorter.
	if ((const void *)d + sizeof(struct ethhdr) + total > end)
		return -1;
	return length - sizeof(struct udphdr);
}

// Gives the frame the length of an answer with that payload. Every pointer into it is void afterwards.
static __always_inline long resize(struct xdp_md *ctx, __u32 payload)
{
	// The difference as one of pointers: the compiler would make one of 32-bit numbers of it.
	long length = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	asm volatile("" : "+r"(length));
	return bpf_xdp_adjust_tail(ctx, (int)HEADERS + (int)payload - (int)length);
}

// The sum of what the checksum covers besides payload and checksum: pseudo-header and UDP header.
static __always_inline __u32 sum_headers(const struct datagram *d)
{
	__u32 sum = (d->ip.saddr >> 16) + (d->ip.saddr & 0xffff);

	sum += (d->ip.daddr >> 16) + (d->ip.daddr & 0xffff);
	sum += bpf_htons(IPPROTO_UDP) + d->udp.len;
	return sum + d->udp.source + d->udp.dest + d->udp.len;
}

// The sum of `length` bytes from `at` on, of at most `words` words.
static __always_inline __u32 sum_bytes(const __u8 *at, __u32 length, const void *end, __u32 words)
{
	__u32 sum = 0;

	for (__u32 i = 0; i < words; i++, at += 2) {
		if (2 * i + 1 >= length) {
			if (2 * i < length && (const void *)(at + 1) <= end)
				sum += at[0];
			break;
		}
		if ((const void *)(at + 2) > end)
			break;
		sum += *(const __u16 *)at;
	}
	return sum;
}

// Whether the datagram has no checksum, or a right one; `sum` is its payload's.
static __always_inline int intact(const struct datagram *d, __u32 sum)
{
	if (d->udp.check == 0)
		return 1;
	return fold(fold(sum_headers(d)) + fold(sum) + d->udp.check) == 0xffff;
}

// Sends the datagram back where it came from: addresses and ports swapped, which leaves checksums as they
// are (RFC 1071); everything else stays.
static __always_inline void mirror(struct datagram *d)
{
	__u16 port = d->udp.source;

	back(&d->ethernet, &d->ip);
	d->udp.source = d->udp.dest;
	d->udp.dest = port;
}

// Makes an answer of the datagram: `payload` bytes with that sum, checksums made. Its payload is in its
// place, and the frame has its length already.
static __always_inline void turn(struct datagram *d, __u32 payload, __u32 sum)
{
	mirror(d);
	d->udp.len = bpf_htons(sizeof(struct udphdr) + payload);
	d->ip.tot_len = bpf_htons(sizeof(struct iphdr) + sizeof(struct udphdr) + payload);
	d->ip.ttl = 64;
	// Nothing is left of the question's identification and marks: each datagram is whole.
	d->ip.id = 0;
	d->ip.tos = 0;
	d->ip.frag_off = bpf_htons(0x4000);
	d->ip.check = 0;
	d->ip.check = ~sum_ip(&d->ip);
	d->udp.check = 0;
	sum = fold(fold(sum_headers(d)) + fold(sum));
	// RFC 768: a computed zero is sent as all ones.
	d->udp.check = sum == 0xffff ? 0xffff : ~sum;
}

#endif
