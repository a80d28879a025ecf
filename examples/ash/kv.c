// memcached over UDP: a `get` of one key whose answer lies in a map.
//
// The library OS keeps in `cache` whole answers, ready to be sent; it changes them before it acknowledges
// what changed them, so that nobody sees what was there before. Everything else is passed on to it: other
// commands, several keys, keys that are not in the map or have ended, what is malformed.
#include "udp.h"

#define KEY_MAX 64
#define TEXT_MAX 1392
#define FRAME_BYTES 8
#define QUESTION_WORDS 40

struct key {
	// Followed by zeroes.
	__u8 bytes[KEY_MAX];
};

struct entry {
	// When it ends, in nanoseconds since boot.
	__u64 expires;
	// Bytes of the answer, and their sum.
	__u32 bytes, sum;
	__u8 text[TEXT_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct key);
	__type(value, struct entry);
	__uint(max_entries, 2048);
} cache SEC(".maps");

__u64 answered, passed;

struct request {
	__be16 id, number, count, zero;
	__u8 get[4];
};

static __always_inline int answer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct datagram *d = data;
	int payload = find(d, end);
	struct key key = {};

	// "get ", a key, "\r\n".
	if (payload < (int)sizeof(struct request) + 3 || payload > (int)sizeof(struct request) + KEY_MAX + 2)
		return XDP_PASS;
	struct request *request = data + HEADERS;
	if ((void *)(request + 1) > end)
		return XDP_PASS;
	if (request->number || request->count != bpf_htons(1) || request->zero)
		return XDP_PASS;
	if (*(__u32 *)request->get != bpf_htonl(0x67657420))
		return XDP_PASS;
	__u8 *text = (void *)(request + 1);
	__u32 length = payload - sizeof(struct request) - 2;
	for (__u32 i = 0; i < KEY_MAX; i++) {
		if (i >= length)
			break;
		if ((void *)(text + i + 1) > end)
			return XDP_PASS;
		// A blank ends a key, control characters have no place in one.
		if (text[i] <= ' ' || text[i] == 127)
			return XDP_PASS;
		key.bytes[i] = text[i];
	}
	text += length & 127;
	if ((void *)(text + 2) > end || text[0] != '\r' || text[1] != '\n')
		return XDP_PASS;
	struct entry *entry = bpf_map_lookup_elem(&cache, &key);
	if (!entry)
		return XDP_PASS;
	__u32 bytes = entry->bytes;
	if (bytes == 0 || bytes > TEXT_MAX || entry->expires <= bpf_ktime_get_ns())
		return XDP_PASS;
	if (d->udp.check && !intact(d, sum_bytes((void *)request, payload, end, QUESTION_WORDS)))
		return XDP_PASS;

	__u16 id = request->id;
	if (resize(ctx, FRAME_BYTES + bytes))
		return XDP_PASS;
	if (bpf_xdp_store_bytes(ctx, HEADERS + FRAME_BYTES, entry->text, bytes))
		return XDP_ABORTED;
	d = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(d + 1) + FRAME_BYTES > end)
		return XDP_ABORTED;
	// The answer is one datagram as well: its first eight bytes are the question's.
	turn(d, FRAME_BYTES + bytes, fold(id + bpf_htons(1)) + fold(entry->sum));
	return XDP_TX;
}

SEC("xdp") int kv(struct xdp_md *ctx)
{
	int verdict = answer(ctx);

	__sync_fetch_and_add(verdict == XDP_TX ? &answered : &passed, 1);
	return verdict;
}

char _license[] SEC("license") = "Dual MIT/GPL";
