// DNS, the common case: one question of class IN whose whole answer lies in a map.
//
// The library OS puts the answer section of each name and type of its zone into `answers`, ready to be
// sent: records whose owner is a pointer to the question. Everything else is passed on to it: names that are
// not in the map, other classes and opcodes, EDNS versions, what is malformed. A question is answered only
// if the UDP checksum is right, and the answer repeats its letters as they were asked (0x20).
#include "udp.h"

#define NAME_MAX 64
#define ANSWER_MAX 256
#define HEADER_BYTES 12
// The largest datagram that we say we take.
#define EDNS_BYTES 1232
// What a query may have at most to be answered here: header, name, type and class, EDNS with options.
#define QUERY_WORDS 100

struct key {
	// In wire format and lower case, followed by zeroes.
	__u8 name[NAME_MAX];
	__be16 type;
	__u16 zero;
};

struct answer {
	// Records, bytes of all of them (a multiple of four), and the sum of these bytes.
	__u16 count, bytes;
	__u32 sum;
	__u8 records[ANSWER_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key);
	__type(value, struct answer);
	__uint(max_entries, 4096);
} answers SEC(".maps");

__u64 answered, passed;

struct header {
	__be16 id;
	__u8 flags, more;
	__be16 questions, answers, authorities, additionals;
};

// RFC 6891, 6.1.2.
struct opt {
	__u8 root;
	__be16 type, class;
	__u8 rcode, version, more, zero;
	__be16 bytes;
} __attribute__((packed));

static __always_inline int answer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct datagram *d = data;
	int payload = find(d, end);
	struct key key = {};

	if (payload < HEADER_BYTES + 5 || payload > 2 * QUERY_WORDS)
		return XDP_PASS;
	struct header *h = data + HEADERS;
	if ((void *)(h + 1) > end)
		return XDP_PASS;
	// A query with nothing but RD, AD and CD set, one question, and at most one additional record.
	if (h->flags & 0xfe || h->more & 0xcf || h->questions != bpf_htons(1))
		return XDP_PASS;
	if (h->answers || h->authorities || h->additionals & ~bpf_htons(1))
		return XDP_PASS;

	__u8 *name = (void *)(h + 1);
	__u32 sum = 0, label = 0, length = 0;
	for (__u32 i = 0; i < NAME_MAX; i++) {
		if ((void *)(name + i + 1) > end)
			return XDP_PASS;
		__u32 byte = name[i];
		// At the start of a label its length, where pointers are longer than any; then its bytes.
		if (label == 0) {
			if (byte >= 64)
				return XDP_PASS;
			label = byte;
			length = i + 1;
			if (byte == 0)
				break;
		} else {
			label--;
		}
		sum += i & 1 ? byte << 8 : byte;
		// Lengths are below any letter.
		key.name[i] = byte - 'A' < 26 ? byte | 0x20 : byte;
	}
	if (length == 0 || length > NAME_MAX || label)
		return XDP_PASS;
	__u8 *tail = name + length;
	if ((void *)(tail + 4) > end)
		return XDP_PASS;
	if (tail[2] != 0 || tail[3] != 1)
		return XDP_PASS;
	key.type = tail[0] | tail[1] << 8;
	__u32 rest = payload - HEADER_BYTES - length - 4, edns = 0;
	__u32 dnssec = 0;
	if (h->additionals) {
		// The root's OPT record of version 0 (RFC 6891), and nothing behind it.
		struct opt *opt = (void *)(tail + 4);
		if ((void *)(opt + 1) > end)
			return XDP_PASS;
		if (opt->root || opt->type != bpf_htons(41) || opt->rcode || opt->version)
			return XDP_PASS;
		if (rest != sizeof(struct opt) + bpf_ntohs(opt->bytes))
			return XDP_PASS;
		dnssec = opt->more & 0x80;
		edns = sizeof(struct opt);
	} else if (rest != 0) {
		return XDP_PASS;
	}
	struct answer *found = bpf_map_lookup_elem(&answers, &key);
	if (!found)
		return XDP_PASS;
	__u32 bytes = found->bytes;
	if (bytes == 0 || bytes > ANSWER_MAX)
		return XDP_PASS;
	if (d->udp.check && !intact(d, sum_bytes((__u8 *)h, payload, end, QUERY_WORDS)))
		return XDP_PASS;

	// The frame gets its new length; its pointers are void from here on.
	__u32 told = HEADER_BYTES + length + 4 + bytes + edns;
	if (resize(ctx, told))
		return XDP_PASS;
	__u32 at = HEADERS + HEADER_BYTES + length + 4;
	if (bpf_xdp_store_bytes(ctx, at, found->records, bytes))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	d = data;
	h = data + HEADERS;
	if ((void *)(h + 1) > end)
		return XDP_ABORTED;
	// An answer with authority; RD and CD as they were (RFC 1035, 4.1.1; RFC 4035, 3.1.6).
	h->flags = 0x84 | (h->flags & 1);
	h->more &= 0x10;
	h->answers = bpf_htons(found->count);
	h->additionals = edns ? bpf_htons(1) : 0;
	__u32 fixed = (__u32)h->id + (h->flags | h->more << 8);
	fixed += h->questions + h->answers + h->additionals;
	// What stands behind the name: type and class, the records, OPT.
	__u32 behind = key.type + bpf_htons(1) + found->sum;
	if (edns) {
		struct opt *opt = data + at + bytes;
		if ((void *)(opt + 1) > end)
			return XDP_ABORTED;
		// We take 1,232 bytes; version 0, DO as it was, no options.
		__builtin_memset(opt, 0, sizeof(*opt));
		opt->type = bpf_htons(41);
		opt->class = bpf_htons(EDNS_BYTES);
		opt->more = dnssec;
		behind += (41 | EDNS_BYTES >> 8 << 8) + (EDNS_BYTES & 255) + (dnssec << 8);
	}
	// Where it begins at an odd place its bytes change places in the words of the whole.
	behind = fold(behind);
	if (length & 1)
		behind = bpf_htons(behind);
	turn(d, told, fixed + fold(sum) + behind);
	return XDP_TX;
}

SEC("xdp") int dns(struct xdp_md *ctx)
{
	int verdict = answer(ctx);

	__sync_fetch_and_add(verdict == XDP_TX ? &answered : &passed, 1);
	return verdict;
}

char _license[] SEC("license") = "Dual MIT/GPL";
