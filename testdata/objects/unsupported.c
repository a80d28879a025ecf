// One program for each thing that an object may ask for and that does not exist here. Each is
// refused by name; `plain` is not.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} member SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct inner);
} nested SEC(".maps") = { .values = { &member } };

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, __u32);
} flagged SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, __u32);
} nothing SEC(".maps");

struct task {
	int pid, tgid;
} __attribute__((preserve_access_index));

extern const int kernel_variable __ksym;
extern unsigned int CONFIG_HZ __kconfig;
extern int kernel_function(struct xdp_md *ctx) __ksym;

static const char *const pointers[] = { "zero", "one" };

static long body(__u32 index, void *context)
{
	return 0;
}

SEC("xdp") int plain(struct xdp_md *ctx) { return XDP_PASS; }
SEC("xdp") int map_of_maps(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&nested, &key) ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int map_kind(struct xdp_md *ctx) { return bpf_redirect_map(&devices, 0, 0); }
SEC("xdp") int map_flags(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&flagged, &key) ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int map_size(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&nothing, &key) ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int core(struct xdp_md *ctx)
{
	struct task *task = (void *)(long)ctx->data;

	return task->tgid;
}
SEC("xdp") int ksym(struct xdp_md *ctx) { return kernel_variable; }
SEC("xdp") int kconfig(struct xdp_md *ctx) { return CONFIG_HZ ? XDP_PASS : XDP_DROP; }
SEC("xdp") int kfunc(struct xdp_md *ctx) { return kernel_function(ctx); }
SEC("xdp") int callback(struct xdp_md *ctx) { return bpf_loop(3, body, 0, 0); }
SEC("xdp") int addresses(struct xdp_md *ctx)
{
	return pointers[ctx->rx_queue_index & 1][0] == 'z' ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
