/* A server.properties from any bytes: read or refused with a reason; every value that was read is judged by its key, if
 * there is one, and looked up. */
#include "fuzz.h"
#include "meta/meta.h"
#include <string.h>

/* What a file says counts in the loaded structs only if it names a key: else they are as if there were no file. */
static bool judge(const struct config_values *values) {
    char words[512];
    struct text why;
    bool known = false;
    text_init(&why, words, sizeof words);
    for (uint32_t i = 0; i < values->count; i++) {
        if (i) assert(span_compare(values->entries[i - 1].name, values->entries[i].name) < 0);
        for (enum config_scope scope = SCOPE_BROKER; scope <= SCOPE_CLIENT_METRICS; scope++) {
            const struct config_key *key = config_find(scope, values->entries[i].name);
            if (!key) continue;
            text_reset(&why);
            if (!config_validate(key, values->entries[i].value, &why)) assert(why.size > 0);
            known = true;
        }
    }
    text_reset(&why);
    if (known && !config_values_validate(values, &why)) assert(why.size > 0);
    return known;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct pool pool;
    struct arena arena;
    struct config_values values;
    char words[512];
    struct text why;
    if (!pool.limit) pool_init(&pool, MIB(64), 4);
    arena_init(&arena, &pool, 0);
    config_values_init(&values, &arena);
    text_init(&why, words, sizeof words);
    enum err err = config_values_read(&values, (struct span){data, size}, &why);
    if (err) assert(err == ERR_NO_MEMORY || why.size > 0);
    if (judge(&values)) {
        struct config_view view = {.values = &values, .broker = 1};
        struct topic_config topic;
        struct group_config group;
        text_reset(&why);
        switch (size % 8) { /* these look up many keys each: not for every input */
        case 0: topic_config_load(&topic, &view, SPAN_LITERAL("t")); break;
        case 1: topic_config_load_values(&topic, &view, &values); break;
        case 2: group_config_load(&group, &view, SPAN_LITERAL("g")); break;
        }
        if (size % 8 < 2 && !topic_config_validate(&topic, &why)) assert(why.size > 0);
    }
    arena_destroy(&arena);
    assert(atomic_load(&pool.used) == 0);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    static const char *const files[] = {
        "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=C\ncontroller.quorum.voters=1@localhost:9093\n",
        "log.retention.hours = 5\nretention.ms : -1\nsegment.bytes 1048576\nmin.cleanable.dirty.ratio=0.5e0\n",
        "a\\ b=\\u00e9\\\n   c\n#x\n!y\\\nshare.auto.offset.reset=by_duration:PT1H\nleader.replication.throttled.replicas=0:1,1:2\n",
        "a=\\u20AC\\ud83d\\ude00\\ud800\\t\\n\\r\\f\nb=\\u12x\n",
        "node.id=1\nprocess.roles=\n", "node.id=1\nbroker.id=2\n", "broker.id=3\nprocess.roles=broker\ncontroller.listener.names=\n",
        "node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\n",
        "node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@a:1\nreplica.fetch.wait.max.ms=60000\n",
        "node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@a:1\nbroker.heartbeat.interval.ms=9000\n",
        "min.compaction.lag.ms=9\nmax.compaction.lag.ms=8\nremote.storage.enable=true\nlocal.retention.ms=5\nretention.ms=4\n",
        "cleanup.policy=delete,compact\ncompression.type=zstd\npreallocate=TRUE\n",
    };
    for (size_t i = 0; i < countof(files); i++) add(files[i], strlen(files[i]));
    /* Every key with its default, and with something that hardly any key takes. */
    for (enum config_scope scope = SCOPE_BROKER; scope <= SCOPE_CLIENT_METRICS; scope++)
        for (const struct config_key *key = NULL; (key = config_next(scope, key));) {
            char line[1024];
            struct text text;
            text_init(&text, line, sizeof line);
            text_add(&text, "%s=%s\n", key->name, config_default(key).data ? key->default_text : "1");
            add(line, text.size);
            text_add(&text, "%s=,-7x\n", key->name);
            add(line, text.size);
        }
}
