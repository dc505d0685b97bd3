/* cli/dump.c - the tool: which files, and which kind each is. */
#include "cli/dump.h"
#include "base/text.h"
#include <string.h>

enum { DUMP_PATH_MAX = 4096 };

/* ---- Which file */

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && !strcmp(text + size - tail, end);
}

/* From the name of the partition's directory. */
static enum dump_decoder decoder_by_place(const char *path) {
    static const struct { const char *topic; enum dump_decoder decoder; } own[] = {
        {"__cluster_metadata-", DUMP_METADATA}, {"__consumer_offsets-", DUMP_GROUP}, {"__transaction_state-", DUMP_TRANSACTION},
        {"__share_group_state-", DUMP_SHARE}, {"__remote_log_metadata-", DUMP_REMOTE}};
    const char *slash = strrchr(path, '/'), *directory = path;
    if (!slash) return DUMP_PLAIN;
    for (const char *at = path; at < slash; at++)
        if (*at == '/') directory = at + 1;
    for (size_t i = 0; i < countof(own); i++)
        if (!strncmp(directory, own[i].topic, strlen(own[i].topic))) return own[i].decoder;
    return DUMP_PLAIN;
}

static bool is_text_file(const char *name) {
    return ends_with(name, "-checkpoint") || !strcmp(name, "quorum-state") || !strcmp(name, "partition.metadata") ||
           !strcmp(name, "meta.properties") || !strcmp(name, ".kafka_cleanshutdown") || !strncmp(name, "moldau.", 7);
}

static void dump_file(struct dump *dump, const char *path) {
    const char *slash = strrchr(path, '/');
    char name[256];
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
    if (dump->by_place) { /* of a file that is going, or coming, too */
        static const char *const more[] = {".deleted", ".cleaned", ".swap", ".part"};
        for (size_t i = 0; i < countof(more); i++)
            if (ends_with(name, more[i])) name[strlen(name) - strlen(more[i])] = 0;
    }
    bool is_log = ends_with(name, ".log"), is_snapshot = ends_with(name, ".checkpoint");
    fprintf(dump->out, "Dumping %s\n", path);
    if (is_log || is_snapshot) {
        enum dump_decoder decoder = dump->by_place && dump->decoder == DUMP_PLAIN ? decoder_by_place(path) : dump->decoder;
        if (dump->by_place && is_snapshot) decoder = DUMP_METADATA;
        dump_log(dump, path, name, decoder, is_snapshot);
    } else if (ends_with(name, ".timeindex")) dump_time_index(dump, path, name);
    else if (ends_with(name, ".txnindex")) dump_txn_index(dump, path, name);
    else if (ends_with(name, ".index")) dump_offset_index(dump, path, name);
    else if (ends_with(name, ".snapshot")) dump_producers(dump, path);
    else if (dump->by_place && is_text_file(name)) dump_text_file(dump, path, name);
    else fprintf(dump->warnings, "Ignoring unknown file %s\n", path);
}

struct listing { struct dump *dump; const char *path; uint32_t files; };

static int list_entry(void *context, const char *name, bool is_directory) {
    struct listing *listing = context;
    char path[DUMP_PATH_MAX];
    if (is_directory || !strcmp(name, ".lock")) return 0;
    if (snprintf(path, sizeof path, "%s%s%s", listing->path, ends_with(listing->path, "/") ? "" : "/", name) >= (int)sizeof path) return 0;
    listing->files++;
    dump_file(listing->dump, path);
    return 0;
}

void dump_init(struct dump *dump, struct io_files files, struct pool *pool, FILE *out, FILE *warnings) {
    *dump = (struct dump){.files = files, .pool = pool, .out = out, .warnings = warnings, .by_place = true, .deep = true,
                          .contents = true, .bytes_max = INT32_MAX};
}

bool dump_path(struct dump *dump, const char *path) {
    struct io_stat stat;
    int result = dump->files.vtable->stat(dump->files.self, path, &stat);
    if (result < 0) {
        fprintf(dump->warnings, "%s: %s\n", path, strerror(-result));
        return false;
    }
    if (!stat.is_directory) {
        dump_file(dump, path);
        return true;
    }
    struct listing listing = {dump, path, 0};
    result = dump->files.vtable->list(dump->files.self, path, list_entry, &listing);
    if (result < 0) fprintf(dump->warnings, "%s: %s\n", path, strerror(-result));
    return result >= 0;
}

/* ---- The tool */

static enum dump_decoder decoder_asked_for(const struct args *args) {
    if (args_has(args, "offsets-decoder")) return DUMP_GROUP;
    if (args_has(args, "transaction-log-decoder")) return DUMP_TRANSACTION;
    if (args_has(args, "cluster-metadata-decoder")) return DUMP_METADATA;
    if (args_has(args, "remote-log-metadata-decoder")) return DUMP_REMOTE;
    if (args_has(args, "share-group-state-decoder")) return DUMP_SHARE;
    return DUMP_PLAIN;
}

/* False: there is no such decoder, and it has been said. */
static bool read_text(const struct args *args, const char *option, enum dump_text *out) {
    static const struct { const char *class; enum dump_text as; } known[] = {
        {"StringDecoder", DUMP_AS_TEXT}, {"DefaultDecoder", DUMP_AS_TEXT}, {"IntegerDecoder", DUMP_AS_INTEGER}, {"LongDecoder", DUMP_AS_LONG}};
    static const char *const packages[] = {"org.apache.kafka.tools.api.", "kafka.serializer."}; /* the second one's until Kafka 4.0 */
    const char *class = args_text(args, option);
    for (size_t p = 0; class && p < countof(packages); p++)
        for (size_t i = 0; i < countof(known); i++)
            if (strncmp(class, packages[p], strlen(packages[p])) == 0 && strcmp(class + strlen(packages[p]), known[i].class) == 0) {
                *out = known[i].as;
                return true;
            }
    if (class) fprintf(stderr, "--%s %s: Java classes cannot be loaded here; there are String-, Integer- and LongDecoder of org.apache.kafka.tools.api\n", option, class);
    return !class;
}

int tool_dump(struct args *args) {
    const char *list = args_text(args, "files");
    if (args->count + args->word_count == 0) return args_wrong(args, "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.");
    if (!list && !args->word_count) return args_wrong(args, "Missing required argument \"[files]\"");
    struct pool pool;
    struct dump dump;
    bool readable = true;
    pool_init(&pool, 0, 0);
    dump_init(&dump, io_files_real(), &pool, stdout, stderr);
    dump.decoder = decoder_asked_for(args);
    if (!read_text(args, "key-decoder-class", &dump.key_as) || !read_text(args, "value-decoder-class", &dump.value_as)) {
        pool_destroy(&pool);
        return 1;
    }
    dump.by_place = !list;
    dump.contents = !list || args_has(args, "print-data-log") || dump.decoder != DUMP_PLAIN ||
                    args_has(args, "key-decoder-class") || args_has(args, "value-decoder-class");
    dump.deep = dump.contents || args_has(args, "deep-iteration");
    dump.skip_record_metadata = args_has(args, "skip-record-metadata");
    dump.sanity_only = args_has(args, "index-sanity-check");
    dump.verify_only = args_has(args, "verify-index-only");
    dump.bytes_max = args_number(args, "max-bytes");
    while (list && *list) {
        char path[DUMP_PATH_MAX];
        size_t size = strcspn(list, ",");
        snprintf(path, sizeof path, "%.*s", (int)size, list);
        if (size && size < sizeof path) readable &= dump_path(&dump, path);
        list += size + (list[size] == ',');
    }
    for (uint32_t i = 0; i < args->word_count; i++) readable &= dump_path(&dump, args->words[i]);
    pool_destroy(&pool);
    return fflush(stdout) != 0 || !readable || dump.damages ? 1 : 0;
}
