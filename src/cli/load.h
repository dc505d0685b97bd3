/* cli/load.h - what the tools that measure and verify have in common: librdkafka by Kafka's options, a pace, and latencies.
 */
#pragma once
#include "cli/args.h"
#include "meta/meta.h"

enum { LOAD_WHY_MAX = 8192 };
struct load {
    struct args *args;
    struct pool pool;
    struct arena arena;
    struct config_values config;   /* of files and properties; the strongest last */
    void *kafka;                   /* rd_kafka_t; NULL: not opened */
    struct text why;
    char why_bytes[LOAD_WHY_MAX];
};
/* Options of the tool that name properties files, and key=value properties. NULL ends each list. False: `why`. */
must_use bool load_open(struct load *load, struct args *args, const char *const *files, const char *const *properties);
/* Key and value pairs, NULL-ended, that hold where the config says nothing (weak) or in any case (strong). `configure` may
 * set more (callbacks) before the client is made. */
struct load_setting { const char *name, *value; };
must_use bool load_connect(struct load *load, bool is_producer, const struct load_setting *weak, const struct load_setting *strong, void (*configure)(void *conf));
void load_close(struct load *load);
/* Says what went wrong; answers 1. */
int load_failed(struct load *load);
/* A tool of the argparse kind lacks what it needs: says so; answers 1. */
int load_wrong(const struct args *args, const char *tool, const char *format, ...) printf_like(3, 4);

int64_t load_now_ms(void);         /* the wall's */
int64_t load_now_ns(void);         /* monotonic  */
/* How long the `count`-th record must still wait so that there are not more than `rate` a second; 0: no longer. rate < 0: any. */
int64_t load_pace_ms(int64_t started_ms, int64_t count, double rate);

/* ---- latencies: a sample of at most half a million, and their sum and maximum */
struct latencies {
    int32_t *samples;              /* owns */
    int64_t sampling, room, taken;
    int64_t count, bytes, sum, max;
};
must_use bool latencies_init(struct latencies *latencies, int64_t expected);
void latencies_free(struct latencies *latencies);
void latencies_add(struct latencies *latencies, int32_t ms, int64_t bytes);
int32_t latencies_at(struct latencies *latencies, double part); /* sorts what was taken */
/* "yyyy-MM-dd HH:mm:ss:SSS" and the like, in local time. */
void load_date(const char *format, int64_t ms, char *out, size_t room);
