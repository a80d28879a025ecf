// DPDK: the classifier library over five-tuples, and its hash with the header checked by hand.
#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#include "workload.h"

enum { FIELDS = 5, BATCH = 32 };
RTE_ACL_RULE_DEF(five, FIELDS);
static struct rte_acl_ctx *acl;
static struct rte_hash *hash;
static const uint32_t ADDRESS = 0x0100000a;

static uint32_t word(const uint8_t *frame, int at) {
    uint32_t value;
    memcpy(&value, frame + at, 4);
    return value;
}

static uint16_t half(const uint8_t *frame, int at) {
    uint16_t value;
    memcpy(&value, frame + at, 2);
    return value;
}

// IPv4 without options, not a later fragment: what the classifier's fields do not say.
static uint32_t is_plain(const uint8_t *frame) {
    return !(((word(frame, 12) ^ 0x00450008) & 0xffffff) | (half(frame, 20) & 0xff1f));
}

static uint64_t key_of(const uint8_t *frame, int udp) {
    return udp ? half(frame, 36) : word(frame, 26) | (uint64_t)half(frame, 34) << 32;
}

static uint32_t is_ours(const uint8_t *frame, int udp) {
    uint32_t wrong = (is_plain(frame) ^ 1) | (word(frame, 30) ^ ADDRESS) | (frame[23] ^ (udp ? 17 : 6));
    return !(wrong | (udp ? 0 : half(frame, 36) ^ __builtin_bswap16(443)));
}

static void classifier(const struct workload *all, uint32_t first, uint32_t count, uint32_t *owners) {
    const uint8_t *frames[BATCH];
    for (uint32_t nth = 0; nth < count; nth++)
        frames[nth] = all->frame + (size_t)(first + nth) * FRAME_BYTES;
    rte_acl_classify(acl, frames, owners, count, 1);
    for (uint32_t nth = 0; nth < count; nth++)
        owners[nth] &= -is_plain(frames[nth]);
}

static void by_hash(const struct workload *all, uint32_t first, uint32_t count, uint32_t *owners) {
    for (uint32_t nth = 0; nth < count; nth++) {
        const uint8_t *frame = all->frame + (size_t)(first + nth) * FRAME_BYTES;
        uint64_t key = key_of(frame, all->udp);
        void *owner = 0;
        int found = is_ours(frame, all->udp) && rte_hash_lookup_data(hash, &key, &owner) >= 0;
        owners[nth] = found ? (uint32_t)(uintptr_t)owner : 0;
    }
}

static void by_bulk(const struct workload *all, uint32_t first, uint32_t count, uint32_t *owners) {
    uint64_t keys[BATCH], hits = 0;
    const void *places[BATCH];
    void *found[BATCH];
    uint32_t whose[BATCH], wanted = 0;
    for (uint32_t nth = 0; nth < count; nth++) {
        const uint8_t *frame = all->frame + (size_t)(first + nth) * FRAME_BYTES;
        owners[nth] = 0;
        keys[wanted] = key_of(frame, all->udp);
        places[wanted] = &keys[wanted];
        whose[wanted] = nth;
        wanted += is_ours(frame, all->udp);
    }
    if (wanted) rte_hash_lookup_bulk_data(hash, places, wanted, &hits, found);
    for (uint32_t nth = 0; nth < wanted; nth++)
        if (hits >> nth & 1) owners[whose[nth]] = (uint32_t)(uintptr_t)found[nth];
}

static void make_classifier(const struct workload *all) {
    struct rte_acl_param wanted = {.name = "demux", .socket_id = SOCKET_ID_ANY,
        .rule_size = RTE_ACL_RULE_SZ(FIELDS), .max_rule_num = all->filters + 1};
    struct rte_acl_config how = {.num_categories = 1, .num_fields = FIELDS, .defs = {
        {RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, 23}, {RTE_ACL_FIELD_TYPE_MASK, 4, 1, 1, 26},
        {RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, 30}, {RTE_ACL_FIELD_TYPE_RANGE, 2, 3, 3, 34},
        {RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 3, 36}}};
    acl = rte_acl_create(&wanted);
    if (!acl) refuse("rte_acl_create");
    for (uint32_t nth = 0; nth < all->filters; nth++) {
        uint64_t key = all->keys[nth];
        uint16_t port = __builtin_bswap16((uint16_t)(all->udp ? key : key >> 32));
        struct five rule = {.data = {.category_mask = 1, .priority = 1, .userdata = nth + 1}};
        rule.field[0].value.u8 = all->udp ? 17 : 6, rule.field[0].mask_range.u8 = 0xff;
        rule.field[1].value.u32 = all->udp ? 0 : __builtin_bswap32((uint32_t)key);
        rule.field[1].mask_range.u32 = all->udp ? 0 : 32;
        rule.field[2].value.u32 = __builtin_bswap32(ADDRESS), rule.field[2].mask_range.u32 = 32;
        rule.field[3].value.u16 = all->udp ? 0 : port;
        rule.field[3].mask_range.u16 = all->udp ? UINT16_MAX : port;
        rule.field[4].value.u16 = rule.field[4].mask_range.u16 = all->udp ? port : 443;
        if (rte_acl_add_rules(acl, (struct rte_acl_rule *)&rule, 1)) refuse("rte_acl_add_rules");
    }
    if (rte_acl_build(acl, &how)) refuse("rte_acl_build");
}

static void make_hash(const struct workload *all) {
    struct rte_hash_parameters wanted = {.name = "demux", .key_len = 8, .hash_func = rte_hash_crc,
        .entries = all->filters < 8 ? 16 : all->filters * 2};
    hash = rte_hash_create(&wanted);
    if (!hash) refuse("rte_hash_create");
    for (uint32_t nth = 0; nth < all->filters; nth++)
        if (rte_hash_add_key_data(hash, &all->keys[nth], (void *)(uintptr_t)(nth + 1)) < 0)
            refuse("rte_hash_add_key_data");
}

int main(int count, char **words) {
    if (count < 2) refuse("which workload?");
    char *eal[] = {"demux", "--no-shconf", "--no-pci", "--no-telemetry", "--log-level=1",
        "--force-max-simd-bitwidth=512", "--iova-mode=va", "--no-huge", "-m", "2048", 0};
    if (rte_eal_init(sizeof eal / sizeof *eal - 1, eal) < 0) refuse(rte_strerror(rte_errno));
    struct workload all = read_workload(words[1]);
    make_hash(&all);
    struct row rows[] = {{"DPDK hash", by_hash, 1, 0}, {"DPDK hash, bulk of 32", by_bulk, BATCH, 0},
        {"DPDK classifier, batches of 32", classifier, BATCH, 0}};
    int classifies = all.filters <= 10000;
    if (classifies) make_classifier(&all);
    converse(&all, rows, 2 + classifies);
}
