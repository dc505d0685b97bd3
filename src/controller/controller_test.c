/* The controller on a real quorum of one, on a real log, in the simulator. */
#include "controller/controller.h"
#include "base/random.h"
#include "controller/format.h"
#include "sim/sim_io.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPICS_MAX = 512 };
struct node {
    struct sim *sim;
    struct sim_net *wires;
    struct sim_host *host;
    struct sim_process *process;
    struct shard_group *group;
    struct log_dirs *dirs;
    struct log_store *store;
    struct quorum *quorum;
    struct controller *controller;
    struct config_values config;
    struct arena config_memory;
    struct pool pool;               /* of the test, not of the process */
    uint32_t images;
    bool failed;
    bool acked[TOPICS_MAX];         /* by number: its creation was answered with NONE */
    uint32_t asked, answered, created;
};
static const char cluster_id[] = "h0kgHDQiRXaFvUGu98bZiQ";
static const struct uuid directory_id = {{0x6b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

static void on_failed(void *context, const char *why) {
    struct node *node = context;
    node->failed = true;
    fail_msg("the controller failed: %s", why);
}
static void on_image(void *context, const struct image *image) {
    struct node *node = context;
    node->images++;
    assert_true(image_metadata_version(image) == MV_LATEST); /* nothing of the bootstrap transaction is seen before its end */
}

static void start(struct node *node, uint64_t snapshot_bytes) {
    char why[512] = "";
    node->process = sim_process_start(node->host, 1);
    struct io *io = sim_process_io(node->process, 0);
    struct pool *pool = sim_process_pool(node->process, 0);
    struct shard_options shards = {.count = 1, .ios = &io, .pools = &pool, .mailbox_messages = 64};
    assert_int_equal(shard_group_open(&node->group, &shards), ERR_NONE);
    sim_process_drive(node->process, node->group);
    struct shard *shard = shard_at(node->group, 0);
    static const char *const paths[] = {"/m"};
    struct log_dirs_options dirs = {.paths = paths, .count = 1, .node = 1, .cluster_id = cluster_id, .pool = pool};
    if (log_dirs_open(&node->dirs, io_files(io), &dirs, why, sizeof why)) fail_msg("%s", why);
    struct log_store_options store = {0};
    assert_int_equal(log_store_open(&node->store, shard, node->dirs, &store), ERR_NONE);
    static const struct image_endpoint endpoint = {{(const uint8_t *)"CONTROLLER", 10}, {(const uint8_t *)"10.0.0.1", 8}, 9093, 0};
    struct controller_options options = {.shard = shard, .node = 1, .cluster_id = SPAN_LITERAL("h0kgHDQiRXaFvUGu98bZiQ"), .config = &node->config,
                                         .incarnation = {{1}}, .endpoints = &endpoint, .endpoint_count = 1, .on_failed = on_failed,
                                         .on_image = on_image, .context = node};
    assert_int_equal(controller_open(&node->controller, &options), ERR_NONE);
    struct quorum_options quorum = {.shard = shard, .store = node->store, .dir = log_dirs_metadata(node->dirs), .cluster_id = cluster_id, .node = 1,
                                    .can_vote = true, .default_listener = "CONTROLLER", .voters = "1@10.0.0.1:9093", .snapshot_bytes = snapshot_bytes,
                                    .listener = {controller_listener(node->controller), NULL}};
    if (quorum_open(&node->quorum, &quorum, why, sizeof why)) fail_msg("%s", why);
    controller_start(node->controller, node->quorum);
    sim_io_nudge(io);
}

static void forget(struct node *node) {
    node->process = NULL;
    node->group = NULL;
    node->dirs = NULL;
    node->store = NULL;
    node->quorum = NULL;
    node->controller = NULL;
    node->asked = node->answered = 0;
}

static void open_node(struct node *node, uint64_t seed) {
    *node = (struct node){.sim = sim_new(seed)};
    struct sim_net_options wires = sim_net_options_default();
    node->wires = sim_net_new(node->sim, &wires);
    node->host = sim_host_new(node->sim, node->wires, 0, 0);
    pool_init(&node->pool, 0, 16);
    arena_init(&node->config_memory, &node->pool, 0);
    config_values_init(&node->config, &node->config_memory);
    static const char *const dirs[] = {"/m"};
    struct format_plan plan = {.node = 1, .cluster_id = SPAN_LITERAL("h0kgHDQiRXaFvUGu98bZiQ"), .dirs = dirs, .directory_ids = &directory_id,
                               .dir_count = 1, .is_controller = true, .now = 1000};
    char words[256];
    struct text why;
    text_init(&why, words, sizeof words);
    if (format_run(&plan, sim_host_files(node->host), &node->pool, &why)) fail_msg("%s", words);
}

static void close_node(struct node *node) {
    if (node->process) sim_process_kill(node->process);
    sim_host_free(node->host);
    sim_net_free(node->wires);
    sim_free(node->sim);
    arena_destroy(&node->config_memory);
    pool_destroy(&node->pool);
}

static bool is_active(void *context) {
    const struct node *node = context;
    return controller_is_active(node->controller);
}
static bool all_answered(void *context) {
    const struct node *node = context;
    return node->asked == node->answered;
}
static void run_for(struct node *node, time_ns span) {
    (void)sim_run_until(node->sim, sim_now(node->sim) + span);
}
static void until(struct node *node, bool (*is_so)(void *context), time_ms within) {
    if (!sim_run_while_not(node->sim, is_so, node, within * NS_PER_MS)) fail_msg("it did not happen within %lld ms", (long long)within);
}

/* ---- requests. Their memory is the process', as in a real node. */

struct ask {
    struct controller_request request;
    struct node *node;
    struct arena arena;
    uint32_t number;
    union { struct create_topics_request create; struct broker_registration_request broker; struct broker_heartbeat_request beat; } in;
    union { struct create_topics_response create; struct broker_registration_response broker; struct broker_heartbeat_response beat; } out;
    enum kafka_error error;
    char name[32];
};

static void done(struct controller_request *request, enum kafka_error error) {
    struct ask *ask = container_of(request, struct ask, request);
    ask->node->answered++;
    ask->error = error;
    if (request->api_key == 19 && error == KAFKA_NONE && ask->out.create.topics[0].error_code == KAFKA_NONE) {
        ask->node->acked[ask->number] = true;
        ask->node->created++;
        /* What was answered is in the committed version. */
        assert_non_null(image_topic(controller_image(ask->node->controller), span_text(ask->name)));
    }
}

static struct ask *ask_new(struct node *node, int16_t api, int16_t version) {
    struct pool *pool = sim_process_pool(node->process, 0);
    struct ask *ask = POOL_NEW(pool, struct ask);
    arena_init(&ask->arena, pool, 0);
    ask->node = node;
    ask->request = (struct controller_request){.api_key = api, .version = version, .request = &ask->in, .response = &ask->out, .arena = &ask->arena,
                                               .former_is_gone = true, .done = done};
    return ask;
}
static void ask_go(struct ask *ask) {
    ask->node->asked++;
    uint32_t answered = ask->node->answered;
    controller_call(ask->node->controller, &ask->request);
    assert_int_equal(ask->node->answered, answered); /* never from within */
    sim_io_nudge(sim_process_io(ask->node->process, 0));
}
static void ask_free(struct ask *ask) {
    arena_destroy(&ask->arena);
    pool_free(sim_process_pool(ask->node->process, 0), ask, sizeof *ask);
}

static void create(struct node *node, uint32_t number) {
    struct ask *ask = ask_new(node, 19, 7);
    create_topics_request_init(&ask->in.create);
    create_topics_response_init(&ask->out.create);
    ask->number = number;
    snprintf(ask->name, sizeof ask->name, "topic-%u", number);
    ask->in.create.topics = create_topics_request_creatable_topic_array(&ask->arena, 1);
    ask->in.create.topics_count = 1;
    ask->in.create.topics[0].name = span_text(ask->name);
    ask->in.create.topics[0].num_partitions = 3;
    ask->in.create.topics[0].replication_factor = 1;
    ask_go(ask);
}

static void bring_up_broker(struct node *node) {
    struct ask *ask = ask_new(node, 62, 4);
    broker_registration_request_init(&ask->in.broker);
    broker_registration_response_init(&ask->out.broker);
    struct broker_registration_request *in = &ask->in.broker;
    in->broker_id = 1;
    in->cluster_id = span_text(cluster_id);
    sim_io_nudge(sim_process_io(node->process, 0));
    io_random(sim_process_io(node->process, 0), in->incarnation_id.bytes, 16);
    in->log_dirs = arena_copy(&ask->arena, &directory_id, sizeof directory_id);
    in->log_dirs_count = 1;
    in->features = broker_registration_request_feature_array(&ask->arena, FEATURES_COUNT);
    in->features_count = FEATURES_COUNT;
    for (int i = 0; i < FEATURES_COUNT; i++) in->features[i] = (struct broker_registration_request_feature){span_text(features[i].name), features[i].min, features[i].max};
    ask_go(ask);
    until(node, all_answered, 10000);
    assert_int_equal(ask->error, KAFKA_NONE);
    assert_int_equal(ask->out.broker.error_code, KAFKA_NONE);
    broker_epoch epoch = ask->out.broker.broker_epoch;
    ask_free(ask);
    ask = ask_new(node, 63, 1);
    broker_heartbeat_request_init(&ask->in.beat);
    broker_heartbeat_response_init(&ask->out.beat);
    ask->in.beat.broker_id = 1;
    ask->in.beat.broker_epoch = epoch;
    ask->in.beat.current_metadata_offset = quorum_end(node->quorum) - 1;
    ask_go(ask);
    until(node, all_answered, 10000);
    assert_int_equal(ask->out.beat.error_code, KAFKA_NONE);
    assert_false(ask->out.beat.is_fenced);
    ask_free(ask);
}

/* An empty log is bootstrapped, the controller and a broker register, topics are made; requests that come while the
 * controller takes over wait for it. After a restart everything is there, and the broker is let in at once. */
TEST(controller_runs_on_a_quorum_of_one) {
    struct node node;
    open_node(&node, 1);
    start(&node, 0);
    until(&node, is_active, 10000);
    bring_up_broker(&node);
    for (uint32_t i = 0; i < 20; i++) create(&node, i);
    until(&node, all_answered, 10000);
    assert_int_equal(node.created, 20);
    const struct image *image = controller_image(node.controller);
    assert_int_equal(image_topic_count(image), 20);
    assert_int_equal(image_partition_count(image), 60);
    assert_non_null(image_controller(image, 1));
    assert_int_equal(image_feature_level(image, SPAN_LITERAL("share.version")), 2);
    controller_check(node.controller);
    assert_true(node.images > 3);
    sim_process_kill(node.process);
    forget(&node);
    start(&node, 0);
    until(&node, is_active, 10000);
    assert_true(image_topic_count(controller_image(node.controller)) == 20);
    bring_up_broker(&node); /* the session of its former process has not expired */
    const struct image_partition *p = image_partition(image_topic(controller_image(node.controller), SPAN_LITERAL("topic-3")), 2);
    assert_int_equal(p->leader, 1);
    controller_check(node.controller);
    close_node(&node);
}

static int count_checkpoint(void *context, const char *name, bool is_directory) {
    (void)is_directory;
    size_t size = strlen(name);
    if (size > 11 && strcmp(name + size - 11, ".checkpoint") == 0 && strncmp(name, "00000000000000000000-", 21) != 0) ++*(uint32_t *)context;
    return 0;
}

/* What was answered survives: the power is cut at random moments, while topics are being made, snapshots are taken and the
 * log is cut behind them; what was not synced is lost. After each start all topics that were answered are there. */
TEST(controller_keeps_what_it_answered) {
    uint32_t total = 0, cuts = 0, snapshots = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct node node;
        open_node(&node, seed);
        struct random random;
        random_seed(&random, seed);
        uint32_t next = 0;
        for (int life = 0; life < 8; life++) {
            start(&node, 3000);
            until(&node, is_active, 20000);
            for (uint32_t i = 0; i < TOPICS_MAX; i++) {
                char name[32];
                snprintf(name, sizeof name, "topic-%u", i);
                if (node.acked[i]) assert_non_null(image_topic(controller_image(node.controller), span_text(name)));
            }
            bring_up_broker(&node);
            uint32_t count = (uint32_t)random_below(&random, 30);
            for (uint32_t i = 0; i < count && next < TOPICS_MAX; i++) {
                create(&node, next++);
                if (random_below(&random, 4) == 0) run_for(&node, (time_ns)random_below(&random, 4000000));
            }
            if (random_below(&random, 3) == 0) until(&node, all_answered, 10000);
            controller_check(node.controller);
            if (random_below(&random, 2)) run_for(&node, (time_ns)random_below(&random, 700) * NS_PER_MS);
            sim_host_power_cut(node.host, SIM_CRASH_RANDOM);
            sim_host_power_on(node.host);
            forget(&node);
            cuts++;
            struct io_files files = sim_host_files(node.host);
            (void)files.vtable->list(files.self, "/m/__cluster_metadata-0", count_checkpoint, &snapshots);
        }
        total += node.created;
        close_node(&node);
    }
    printf("%u topics answered, %u power cuts, %u times a snapshot was there\n", total, cuts, snapshots);
    assert_true(total > 200 && snapshots > 10);
}
