/* cli/storage.c - kafka-storage.sh: format, info, random-uuid, and what there is to know about feature levels. */
#include "cli/storage.h"
#include "base/random.h"
#include "cli/config_provide.h"
#include "cli/properties.h"
#include "cli/scram.h"
#include "controller/controller.h"
#include "log/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WHY_MAX = 4096, VOTERS_TEXT_MAX = 4096, SCRAMS_MAX = 64 };

static struct random seeded(void) {
    struct random random;
    uint64_t seed = 0;
    if (getentropy(&seed, sizeof seed)) never("the kernel has entropy");
    random_seed(&random, seed);
    return random;
}

static int unwanted(const struct args *args) {
    if (args->word_count == 0) return 0;
    fprintf(stderr, "kafka-storage: error: unrecognized arguments: '%s'\n", args->words[0]);
    return 1;
}

static int missing(const struct args *args, const char *option, char letter) {
    if (args_has(args, option)) return 0;
    if (args->tool->parent == TOOL_features) fprintf(stderr, "Command line error: argument --%s is required. Type --help for help.\n", option);
    else fprintf(stderr, "kafka-storage: error: argument --%s/-%c is required\n", option, letter);
    return 1;
}

int storage_random_uuid_run(struct args *args) {
    char text[UUID_TEXT_BYTES + 1];
    if (unwanted(args)) return 1;
    struct random random = seeded();
    uuid_text(uuid_random(&random), text);
    puts(text);
    return 0;
}

/* ---- feature levels -------------------------------------------------------------------------------------------------------- */

static const struct metadata_level *release(const char *name) {
    const struct metadata_level *level = metadata_level_named(span_text(name));
    if (level && level->level <= MV_LATEST) return level;
    fprintf(stderr, "Unknown metadata.version '%s'. Supported metadata.version are: ", name);
    for (int16_t i = MV_MIN; i <= MV_LATEST; i++) fprintf(stderr, i == MV_MIN ? "%s" : ", %s", metadata_level(i)->name);
    fputc('\n', stderr);
    return NULL;
}

/* The order that Kafka's tool tells them in. */
static const char *const told[] = {FEATURE_KRAFT, FEATURE_TRANSACTION, FEATURE_GROUP, FEATURE_ELR, FEATURE_SHARE, FEATURE_STREAMS};

int storage_version_mapping_run(struct args *args) {
    const char *name = args_text(args, "release-version");
    if (unwanted(args)) return 1;
    const struct metadata_level *level = name ? release(name) : metadata_level(MV_LATEST);
    if (!level) return 1;
    printf("%s=%d (%s)\n", FEATURE_METADATA, level->level, name ? name : level->name);
    for (size_t i = 0; i < countof(told); i++) printf("%s=%d\n", told[i], feature_default(feature_find(span_text(told[i])), level->level));
    return 0;
}

/* "name=level". */
static bool parse_feature(const char *text, struct span *name, int16_t *level) {
    const char *equals = strchr(text, '=');
    char *end;
    if (!equals || equals == text) {
        fprintf(stderr, "Can't parse feature=level string %s: equals sign not found.\n", text);
        return false;
    }
    long number = strtol(equals + 1, &end, 10);
    if (end == equals + 1 || *end || number < 0 || number > INT16_MAX) {
        fprintf(stderr, "Can't parse feature=level string %s: unable to parse %s as a short.\n", text, equals + 1);
        return false;
    }
    *name = span_of(text, (size_t)(equals - text));
    *level = (int16_t)number;
    return true;
}

int storage_feature_dependencies_run(struct args *args) {
    uint32_t at = 0;
    struct span name;
    int16_t level;
    if (unwanted(args) || missing(args, "feature", 'f')) return 1;
    for (const char *text; (text = args_each(args, "feature", &at));) {
        bool of_storage = args->tool == &cli_tools[TOOL_storage_feature_dependencies]; /* Kafka's two tools say the same differently */
        if (of_storage && !strchr(text, '=')) {
            fprintf(stderr, "Invalid feature format: %s. Expected format: 'feature=version' (e.g. 'group.version=1')\n", text);
            return 1;
        }
        if (!parse_feature(text, &name, &level)) return 1;
        const struct feature *feature = feature_find(name);
        if (!feature) {
            fprintf(stderr, "Unknown feature: %.*s\n", (int)name.size, (const char *)name.data);
            return 1;
        }
        if (strcmp(feature->name, FEATURE_METADATA) == 0) {
            if (!metadata_level(level) || level > MV_LATEST) {
                fprintf(stderr, "Unknown metadata.version %d\n", level);
                return 1;
            }
            printf("metadata.version=%d (%s) has no dependencies.\n", level, metadata_level(level)->name);
            continue;
        }
        if (level < feature->min || level > feature->max) {
            if (of_storage) fprintf(stderr, "Feature level %d is not supported for feature %s\n", level, feature->name);
            else fprintf(stderr, "No feature:%s with feature level %d\n", feature->name, level);
            return 1;
        }
        int16_t needs = feature_needs_metadata_version(feature, level);
        if (needs) printf("%s=%d requires:\n    metadata.version=%d (%s)\n", feature->name, level, needs, metadata_level(needs)->name);
        else printf("%s=%d has no dependencies.\n", feature->name, level);
    }
    return 0;
}

/* ---- a node's directories ----------------------------------------------------------------------------------------------------- */

struct node {
    struct pool pool;
    struct arena arena;
    struct config_values values;
    struct config_view view;
    const char *dirs[FORMAT_DIRS_MAX];
    uint32_t dir_count, metadata_dir;
    struct text why;
    char why_bytes[WHY_MAX];
};

static const char *string(struct node *node, struct span text) {
    char *copy = arena_alloc(&node->arena, text.size + 1);
    if (!copy) never("a tool has memory");
    memcpy(copy, text.data, text.size);
    return copy;
}

static uint32_t add_dir(struct node *node, struct span dir) {
    while (dir.size > 1 && dir.data[dir.size - 1] == '/') dir.size--;
    for (uint32_t i = 0; i < node->dir_count; i++)
        if (span_equal(span_text(node->dirs[i]), dir)) return i;
    if (node->dir_count == FORMAT_DIRS_MAX) return 0;
    node->dirs[node->dir_count] = string(node, dir);
    return node->dir_count++;
}

static bool node_read(struct node *node, const char *path) {
    struct span item;
    memset(node, 0, sizeof *node);
    pool_init(&node->pool, 0, 0);
    arena_init(&node->arena, &node->pool, 0);
    config_values_init(&node->values, &node->arena);
    text_init(&node->why, node->why_bytes, sizeof node->why_bytes);
    if (!properties_read_file(&node->values, path, &node->why) || !config_provide(&node->values, &node->why)) return false;
    if (!config_values_validate(&node->values, &node->why)) return false;
    node->view = (struct config_view){.values = &node->values, .broker = -1};
    struct span dirs = config_text(&node->view, KEY_log_dirs, NULL);
    if (!dirs.data || dirs.size == 0) dirs = config_text(&node->view, KEY_log_dir, NULL);
    while (config_list_next(&dirs, &item)) add_dir(node, item);
    if (node->dir_count == 0) {
        text_add(&node->why, "log.dirs: at least one directory is needed");
        return false;
    }
    struct span metadata = config_text(&node->view, KEY_metadata_log_dir, NULL);
    node->metadata_dir = metadata.data && metadata.size ? add_dir(node, metadata) : 0;
    return true;
}

static int node_end(struct node *node, int status) {
    if (node->why.size) fprintf(stderr, "%s\n", node->why.bytes);
    arena_destroy(&node->arena);
    pool_destroy(&node->pool);
    return status;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int storage_info_run(struct args *args) {
    static struct node node;
    struct io_files files = io_files_real();
    struct log_dir_meta first = {0}, meta;
    bool has_first = false;
    const char *problems[FORMAT_DIRS_MAX * 2];
    char problem[LOG_PATH_MAX + 128];
    uint32_t problem_count = 0;
    if (unwanted(args) || missing(args, "config", 'c')) return 1;
    if (!node_read(&node, args_text(args, "config"))) return node_end(&node, 1);
    qsort(node.dirs, node.dir_count, sizeof *node.dirs, by_text);
    uint32_t found = 0;
    bool is_found[FORMAT_DIRS_MAX];
    for (uint32_t i = 0; i < node.dir_count; i++) {
        struct io_stat stat;
        is_found[i] = files.vtable->stat(files.self, node.dirs[i], &stat) >= 0 && stat.is_directory;
        found += is_found[i];
    }
    if (found) printf("Found log director%s:\n", found == 1 ? "y" : "ies");
    for (uint32_t i = 0; i < node.dir_count; i++)
        if (is_found[i]) printf("  %s\n", node.dirs[i]);
    if (found) printf("\n");
    for (uint32_t i = 0; i < node.dir_count; i++) {
        struct io_stat stat;
        enum err err = log_dir_meta_read(files, node.dirs[i], &meta);
        if (files.vtable->stat(files.self, node.dirs[i], &stat) < 0) snprintf(problem, sizeof problem, "%s does not exist", node.dirs[i]);
        else if (!stat.is_directory) snprintf(problem, sizeof problem, "%s is not a directory", node.dirs[i]);
        else if (err == ERR_NOT_FOUND) snprintf(problem, sizeof problem, "%s is not formatted.", node.dirs[i]);
        else if (err) snprintf(problem, sizeof problem, "%s/meta.properties: %s", node.dirs[i], err_text(err));
        else {
            if (has_first && strcmp(first.cluster_id, meta.cluster_id) != 0)
                snprintf(problem, sizeof problem, "Mismatched cluster IDs between storage directories.");
            else problem[0] = 0;
            if (!has_first) first = meta, has_first = true;
            if (!problem[0]) continue;
        }
        problems[problem_count++] = string(&node, span_text(problem));
    }
    if (has_first) {
        char id[UUID_TEXT_BYTES + 1];
        uuid_text(first.id, id);
        printf("Found metadata: {cluster.id=%s, directory.id=%s, node.id=%d, version=%d}\n\n", first.cluster_id, id, first.node, first.version);
    }
    if (problem_count) printf("Found problem%s:\n", problem_count == 1 ? "" : "s");
    for (uint32_t i = 0; i < problem_count; i++) printf("  %s\n", problems[i]);
    if (problem_count) printf("\n");
    return node_end(&node, problem_count ? 1 : 0);
}

/* ---- format ---------------------------------------------------------------------------------------------------------------------- */

/* The controller's own listener, "host:port", of the listener that controller.listener.names begins with. */
static bool own_endpoint(struct node *node, struct span name, char *out, size_t room) {
    struct span lists[] = {config_text(&node->view, KEY_advertised_listeners, NULL), config_text(&node->view, KEY_listeners, NULL)}, item;
    for (size_t i = 0; i < countof(lists); i++)
        while (lists[i].data && config_list_next(&lists[i], &item)) {
            if (item.size < name.size + 4 || memcmp(item.data, name.data, name.size) != 0 || memcmp(item.data + name.size, "://", 3) != 0) continue;
            struct span rest = span_of(item.data + name.size + 3, item.size - name.size - 3);
            int n = snprintf(out, room, "%s%.*s", rest.data[0] == ':' ? "localhost" : "", (int)rest.size, (const char *)rest.data);
            return n > 0 && (size_t)n < room;
        }
    text_add(&node->why, "controller.listener.names=%.*s: is not in listeners", (int)name.size, (const char *)name.data);
    return false;
}

static bool read_voters(struct node *node, const struct args *args, struct format_plan *plan, struct raft_voters *voters) {
    struct span names = config_text(&node->view, KEY_controller_listener_names, NULL), name = {0};
    bool has_static = config_text(&node->view, KEY_controller_quorum_voters, NULL).size > 0;
    const char *initial = args_text(args, "initial-controllers");
    bool alone = args_has(args, "standalone"), none = args_has(args, "no-initial-controllers");
    if (alone + none + (initial != NULL) > 1) {
        text_add(&node->why, "kafka-storage: error: --standalone, --no-initial-controllers and --initial-controllers do not go together");
        return false;
    }
    if (has_static && (alone || initial)) {
        text_add(&node->why, "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify controller.quorum.bootstrap.servers instead.");
        return false;
    }
    if (!has_static && plan->is_controller && !alone && !initial && !none) {
        text_add(&node->why, "Because controller.quorum.voters is not set on this controller, you must specify one of the following: --standalone, --initial-controllers, or --no-initial-controllers.");
        return false;
    }
    plan->dynamic = !has_static;
    if (!alone && !initial) return true;
    if (!plan->is_controller) {
        text_add(&node->why, "You can only use --standalone or --initial-controllers on a controller.");
        return false;
    }
    (void)config_list_next(&names, &name);
    char text[VOTERS_TEXT_MAX], endpoint[512], id[UUID_TEXT_BYTES + 1];
    if (alone) {
        if (!own_endpoint(node, name, endpoint, sizeof endpoint)) return false;
        uuid_text(plan->directory_ids[node->metadata_dir], id);
        snprintf(text, sizeof text, "%d@%s:%s", plan->node, endpoint, id);
        initial = text;
    }
    if (raft_voters_parse(span_text(initial), name, true, voters)) {
        text_add(&node->why, "--initial-controllers %s: id@host:port:directory id is wanted, with commas between", initial);
        return false;
    }
    plan->voters = voters;
    return true;
}

/* With --initial-controllers, this node's own directory id stands there. */
static void own_directory(const char *initial, struct format_plan *plan, struct uuid *ids) {
    for (const char *at = initial; at && *at; at += strcspn(at, ","), at += *at == ',') {
        char *end;
        long id = strtol(at, &end, 10);
        const char *stop = at + strcspn(at, ","), *colon = stop;
        while (colon > at && *colon != ':') colon--;
        struct uuid directory;
        if (*end == '@' && id == plan->node && uuid_parse(colon + 1, (size_t)(stop - colon - 1), &directory)) ids[plan->metadata_dir] = directory;
    }
}

static bool is_voter(const struct format_plan *plan) {
    for (uint32_t i = 0; plan->voters && i < plan->voters->count; i++)
        if (plan->voters->voters[i].key.id == plan->node) return true;
    return false;
}

static bool read_features(struct node *node, const struct args *args, struct format_plan *plan) {
    uint32_t at = 0;
    const char *version = args_text(args, "release-version");
    if (version) {
        const struct metadata_level *level = release(version);
        if (!level) return false;
        plan->metadata_version = level->level;
    }
    for (const char *text; (text = args_each(args, "feature", &at));) {
        struct format_feature feature;
        if (!parse_feature(text, &feature.name, &feature.level)) return false;
        if (span_equal(feature.name, SPAN_LITERAL(FEATURE_METADATA))) {
            if (version) {
                text_add(&node->why, "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.");
                return false;
            }
            plan->metadata_version = feature.level;
            continue;
        }
        if (!feature_find(feature.name)) {
            text_add(&node->why, "Unsupported feature: %.*s. Supported features are: eligible.leader.replicas.version, group.version, kraft.version, share.version, streams.version, transaction.version", (int)feature.name.size, (const char *)feature.name.data);
            return false;
        }
        if (plan->feature_count == FORMAT_FEATURES_MAX) {
            text_add(&node->why, "too many features");
            return false;
        }
        plan->features[plan->feature_count++] = feature;
    }
    return true;
}

/* Credentials of --add-scram: those that the cluster's first snapshot holds. */
static bool read_scrams(struct node *node, const struct args *args, struct format_plan *plan, struct random *random) {
    static struct scram_credential credentials[SCRAMS_MAX];
    static struct format_scram scrams[SCRAMS_MAX];
    uint32_t at = 0, count = 0;
    for (const char *text; (text = args_each(args, "add-scram", &at)); count++) {
        if (count == SCRAMS_MAX) {
            text_add(&node->why, "too many credentials");
            return false;
        }
        struct scram_credential *credential = &credentials[count];
        if (!scram_parse(text, random, credential, &node->why)) return false;
        uint32_t size = scram_key_size(credential->mechanism);
        scrams[count] = (struct format_scram){.user = span_text(credential->name), .mechanism = (int8_t)credential->mechanism, .salt = span_of(credential->salt, credential->salt_size),
                                              .stored_key = span_of(credential->stored_key, size), .server_key = span_of(credential->server_key, size), .iterations = credential->iterations};
        for (uint32_t i = 0; i < count; i++)
            if (scrams[i].mechanism == scrams[count].mechanism && span_equal(scrams[i].user, scrams[count].user)) {
                text_add(&node->why, "A user credential for %s with %s is given twice", credential->name, scram_name(credential->mechanism));
                return false;
            }
    }
    plan->scrams = scrams;
    plan->scram_count = count;
    return true;
}

/* The levels that a new cluster starts with, in the words of Kafka's tool. */
static void print_bootstrap(const struct format_plan *plan) {
    int16_t version = plan->metadata_version ? plan->metadata_version : MV_LATEST;
    printf("Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(name='metadata.version', featureLevel=%d) at version 0)", version);
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        struct span name = span_text(features[i].name);
        int16_t level = feature_default(&features[i], version);
        for (uint32_t j = 0; j < plan->feature_count; j++)
            if (span_equal(plan->features[j].name, name)) level = plan->features[j].level;
        if (level == 0 || span_equal(name, SPAN_LITERAL(FEATURE_METADATA)) || span_equal(name, SPAN_LITERAL(FEATURE_KRAFT))) continue;
        printf(", ApiMessageAndVersion(FeatureLevelRecord(name='%s', featureLevel=%d) at version 0)", features[i].name, level);
    }
    printf("], metadataVersionLevel=%d, source=format command)\n", version);
}

int storage_format_run(struct args *args) {
    static struct node node;
    static struct raft_voters voters;
    struct uuid ids[FORMAT_DIRS_MAX];
    struct format_plan plan = {0};
    struct io_files files = io_files_real();
    struct timespec now;
    struct log_dir_meta meta;
    if (unwanted(args) || missing(args, "cluster-id", 't') || missing(args, "config", 'c')) return 1;
    if (!node_read(&node, args_text(args, "config"))) return node_end(&node, 1);
    clock_gettime(CLOCK_REALTIME, &now);
    struct random random = seeded();
    plan.node = (broker_id)config_number(&node.view, KEY_node_id);
    plan.cluster_id = span_text(args_text(args, "cluster-id"));
    plan.dirs = node.dirs;
    plan.dir_count = node.dir_count;
    plan.metadata_dir = node.metadata_dir;
    plan.directory_ids = ids;
    plan.is_controller = config_list_contains(config_text(&node.view, KEY_process_roles, NULL), SPAN_LITERAL("controller"));
    plan.ignore_formatted = args_has(args, "ignore-formatted");
    plan.now = (time_ms)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    for (uint32_t i = 0; i < node.dir_count; i++) ids[i] = uuid_random(&random);
    own_directory(args_text(args, "initial-controllers"), &plan, ids);
    if (!read_scrams(&node, args, &plan, &random) || !read_features(&node, args, &plan) || !read_voters(&node, args, &plan, &voters)) return node_end(&node, 1);
    uint32_t formatted = 0;
    bool is_formatted[FORMAT_DIRS_MAX] = {false};
    for (uint32_t i = 0; i < node.dir_count; i++) {
        is_formatted[i] = log_dir_meta_read(files, node.dirs[i], &meta) != ERR_NOT_FOUND;
        formatted += is_formatted[i];
        if (!is_formatted[i] || plan.ignore_formatted) continue;
        text_add(&node.why, "Log directory %s is already formatted. Use --ignore-formatted to ignore this directory and format the others.", node.dirs[i]);
        return node_end(&node, 1);
    }
    if (formatted == node.dir_count) {
        puts("All of the log directories are already formatted.");
        return node_end(&node, 0);
    }
    enum err err = format_run(&plan, files, &node.pool, &node.why);
    if (err) {
        if (!node.why.size) text_add(&node.why, "%s", err_text(err));
        return node_end(&node, 1);
    }
    print_bootstrap(&plan);
    const char *version = metadata_level(plan.metadata_version ? plan.metadata_version : MV_LATEST)->name;
    for (uint32_t i = 0; i < node.dir_count; i++) {
        const char *what = i != node.metadata_dir ? "data directory" : !plan.dynamic || !plan.voters ? "metadata directory" : is_voter(&plan) ? "dynamic metadata voter directory" : "dynamic metadata directory";
        if (!is_formatted[i]) printf("Formatting %s %s with metadata.version %s.\n", what, node.dirs[i], version);
    }
    return node_end(&node, 0);
}
