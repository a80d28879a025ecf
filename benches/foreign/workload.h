// What the C contestants of the `demux` bench share: the workload's file, turns, the conversation.
//
// The bench starts a contestant with the path of a workload. It checks its answers for all frames,
// says `sluice: ready NAME|NAME`, and then for each number that it reads takes a turn as that row
// and says `sluice: NANOSECONDS` of its own processor time per frame.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FRAME_BYTES = 64, TURN_NANOSECONDS = 20 * 1000 * 1000, TURN_FRAMES = 1 << 18 };

// The file: these four numbers, then keys (8 bytes each), frames, owners (4 bytes each).
struct workload {
    uint32_t udp, filters, frames, unused;
    const uint64_t *keys;
    const uint8_t *frame;
    const uint32_t *owner;
};

// Says whose `count` frames from `first` on are.
typedef void contestant(const struct workload *all, uint32_t first, uint32_t count, uint32_t *owners);

struct row {
    const char *name;
    contestant *classify;
    uint32_t batch;
    double estimate;
};

static void refuse(const char *why) {
    printf("sluice: refused %s\n", why);
    exit(2);
}

static struct workload read_workload(const char *path) {
    FILE *file = fopen(path, "rb");
    struct workload all = {0};
    if (!file || fread(&all, 4, 4, file) != 4) refuse("no workload");
    size_t keys = (size_t)all.filters * 8, frames = (size_t)all.frames * FRAME_BYTES;
    size_t bytes = keys + frames + (size_t)all.frames * 4;
    uint8_t *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    // Frames first, so that each is on a cache line.
    if (!memory || fread(memory + frames, 1, keys, file) != keys ||
        fread(memory, 1, frames, file) != frames ||
        fread(memory + frames + keys, 1, (size_t)all.frames * 4, file) != (size_t)all.frames * 4)
        refuse("half a workload");
    fclose(file);
    all.frame = memory;
    all.keys = (const uint64_t *)(memory + frames);
    all.owner = (const uint32_t *)(memory + frames + keys);
    return all;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// Nanoseconds per frame over about `frames` of them.
static double turn(const struct workload *all, const struct row *row, uint32_t frames) {
    uint32_t owners[64], done = 0, at = 0;
    uint64_t sum = 0;
    double start = now();
    while (done < frames) {
        row->classify(all, at, row->batch, owners);
        for (uint32_t nth = 0; nth < row->batch; nth++) sum += owners[nth];
        done += row->batch;
        at = (at + row->batch) & (all->frames - 1);
    }
    double time = now() - start;
    __asm__ volatile("" ::"r"(sum));
    return time / done;
}

// Checks every answer, or as many as there is time for.
static void insist(const struct workload *all, struct row *row) {
    uint32_t owners[64], at = 0;
    double start = now();
    for (; at < all->frames && now() - start < 1e9; at += row->batch) {
        row->classify(all, at, row->batch, owners);
        if (memcmp(owners, all->owner + at, row->batch * 4)) refuse("it answers otherwise");
    }
    row->estimate = (now() - start) / at;
}

static void converse(const struct workload *all, struct row *rows, int count) {
    for (int nth = 0; nth < count; nth++) insist(all, &rows[nth]);
    printf("sluice: ready ");
    for (int nth = 0; nth < count; nth++) printf(nth ? "|%s" : "%s", rows[nth].name);
    printf("\n");
    fflush(stdout);
    for (int which; scanf("%d", &which) == 1 && which >= 0 && which < count;) {
        double frames = TURN_NANOSECONDS / (rows[which].estimate + 0.1);
        uint32_t most = frames < 128 ? 128 : frames < TURN_FRAMES ? (uint32_t)frames : TURN_FRAMES;
        turn(all, &rows[which], most / 8 + 1);
        printf("sluice: %.4f\n", turn(all, &rows[which], most));
        fflush(stdout);
    }
}
