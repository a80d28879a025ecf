// The way back: what every answer does to the headers in front of its ports.
#ifndef BACK_H
#define BACK_H

#include <linux/if_ether.h>
#include <linux/ip.h>

// Stations and addresses swapped, which leaves checksums as they are (RFC 1071).
static __always_inline void back(struct ethhdr *ethernet, struct iphdr *ip)
{
	__u8 mac[ETH_ALEN];
	__be32 address = ip->saddr;

	__builtin_memcpy(mac, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, mac, ETH_ALEN);
	ip->saddr = ip->daddr;
	ip->daddr = address;
}

#endif
