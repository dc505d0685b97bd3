/* A server.properties from any bytes: read or refused with a reason; every value that was read is judged by its key, if
 * there is one, and looked up. */
#include "fuzz.h"
#include "meta/meta.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pool pool;
    struct arena arena;
    struct config_values values;
    char words[512];
    struct text why;
    pool_init(&pool, MIB(64), 16);
    arena_init(&arena, &pool, 0);
    config_values_init(&values, &arena);
    text_init(&why, words, sizeof words);
    enum err err = config_values_read(&values, (struct span){data, size}, &why);
    if (err) assert(err == ERR_NO_MEMORY || why.size > 0);
    for (uint32_t i = 0; i < values.count; i++) {
        if (i) assert(span_compare(values.entries[i - 1].name, values.entries[i].name) < 0);
        for (enum config_scope scope = SCOPE_BROKER; scope <= SCOPE_CLIENT_METRICS; scope++) {
            const struct config_key *key = config_find(scope, values.entries[i].name);
            text_reset(&why);
            if (key && !config_validate(key, values.entries[i].value, &why)) assert(why.size > 0);
        }
    }
    text_reset(&why);
    if (!config_values_validate(&values, &why)) assert(why.size > 0);
    struct config_view view = {.values = &values, .broker = 1};
    struct topic_config topic;
    struct group_config group;
    topic_config_load(&topic, &view, SPAN_LITERAL("t"));
    topic_config_load_values(&topic, &view, &values);
    group_config_load(&group, &view, SPAN_LITERAL("g"));
    arena_destroy(&arena);
    pool_destroy(&pool);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    static const char *const files[] = {
        "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=C\ncontroller.quorum.voters=1@localhost:9093\n",
        "log.retention.hours = 5\nretention.ms : -1\nsegment.bytes 1048576\nmin.cleanable.dirty.ratio=0.5e0\n",
        "a\\ b=\\u00e9\\\n   c\n#x\n!y\\\nshare.auto.offset.reset=by_duration:PT1H\nleader.replication.throttled.replicas=0:1,1:2\n",
        "cleanup.policy=delete,compact\ncompression.type=zstd\npreallocate=TRUE\n",
    };
    for (size_t i = 0; i < countof(files); i++) add(files[i], strlen(files[i]));
}
