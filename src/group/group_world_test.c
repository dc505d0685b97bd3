#include "group/group_world.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The world */

struct world *world_new(void) {
    struct world *world = calloc(1, sizeof *world);
    pool_init(&world->pool, 0, 16);
    world->settings = group_settings_default();
    world->machine = group_machine_new(&world->pool, &world->settings);
    random_seed(&world->random, 11);
    world->now = (struct group_now){.now_ms = 0, .wall_ms = 1000000, .random = &world->random};
    world->batches = calloc(WORLD_BATCHES, sizeof *world->batches);
    world->requests = calloc(WORLD_REQUESTS, sizeof *world->requests);
    world->ids = calloc(WORLD_IDS, sizeof *world->ids);
    text_init(&world->out, malloc(1 << 20), 1 << 20);
    struct group_effects effects;
    group_effects_init(&effects, NULL);
    group_loaded(world->machine, &world->now, &effects);
    return world;
}

static void forget(struct world *world) {
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        if (world->requests[i].used) arena_destroy(&world->requests[i].arena);
        world->requests[i].used = false;
    }
}

void world_free(struct world *world) {
    group_machine_free(world->machine);
    forget(world);
    for (uint32_t i = 0; i < world->batch_count; i++) arena_destroy(&world->batches[i].arena);
    free(world->batches);
    free(world->requests);
    free(world->ids);
    free(world->out.bytes);
    pool_destroy(&world->pool);
    free(world);
}

struct span world_span(struct world_request *request, const char *text) {
    if (!text) return span_of(NULL, 0);
    struct span copy;
    assert_true(span_copy(&request->arena, span_text(text), &copy));
    return copy;
}

struct world_request *world_request(struct world *world, enum group_request_type type, int version, const char *who) {
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        struct world_request *request = &world->requests[i];
        if (request->used) continue;
        memset(request, 0, sizeof *request);
        request->used = true;
        arena_init(&request->arena, &world->pool, 0);
        snprintf(request->who, sizeof request->who, "%s", who);
        request->group = (struct group_request){.type = type, .version = (int16_t)version, .arena = &request->arena};
        request->group.client_id = world_span(request, who);
        request->group.client_host = world_span(request, "/10.0.0.1");
        return request;
    }
    fail_msg("too many requests in flight");
    return NULL;
}

/* ---- Names for ids */

static const char *name_of(struct world *world, struct span id) {
    static char names[16][128];
    static int turn;
    char *name = names[turn++ % 16];
    if (id.size <= 37) {
        snprintf(name, 128, "%.*s", (int)id.size, (const char *)id.data);
        return name;
    }
    int prefix = (int)id.size - 37, same = 0;
    for (uint32_t i = 0; i < world->id_count; i++) {
        const char *known = world->ids[i];
        bool is_same = (int)strlen(known) - 37 == prefix && !memcmp(known, id.data, (size_t)prefix);
        if (is_same) same++;
        if (strlen(known) == id.size && !memcmp(known, id.data, id.size)) {
            snprintf(name, 128, "%.*s#%d", prefix, known, same);
            return name;
        }
    }
    assert_true(world->id_count < WORLD_IDS && id.size < 96);
    memcpy(world->ids[world->id_count++], id.data, id.size);
    snprintf(name, 128, "%.*s#%d", prefix, (const char *)id.data, same + 1);
    return name;
}

/* From a#2 to the id; anything else is itself. */
static const char *id_of(struct world *world, const char *name) {
    const char *hash = name ? strchr(name, '#') : NULL;
    if (!hash) return name;
    int wanted = atoi(hash + 1), same = 0;
    for (uint32_t i = 0; i < world->id_count; i++) {
        size_t prefix = strlen(world->ids[i]) - 37;
        if (prefix == (size_t)(hash - name) && !memcmp(world->ids[i], name, prefix) && ++same == wanted) return world->ids[i];
    }
    fail_msg("no such id: %s", name);
    return NULL;
}

/* ---- Answers as text */

static const char *text_of(struct span span) {
    static char texts[16][256];
    static int turn;
    char *text = texts[turn++ % 16];
    if (!span.data) return "-";
    snprintf(text, 256, "%.*s", (int)span.size, (const char *)span.data);
    return text;
}

static void write_join(struct world *world, const struct join_group_response *answer) {
    struct text *out = &world->out;
    text_add(out, "member %s", name_of(world, answer->member_id));
    if (answer->error_code) return;
    text_add(out, " generation %d %s %s leader %s%s", answer->generation_id, text_of(answer->protocol_type), text_of(answer->protocol_name),
             name_of(world, answer->leader), answer->skip_assignment ? " skip" : "");
    for (int32_t i = 0; i < answer->members_count; i++) {
        text_add(out, "%s%s", i ? ", " : " [", name_of(world, answer->members[i].member_id));
        if (answer->members[i].group_instance_id.data) text_add(out, " as %s", text_of(answer->members[i].group_instance_id));
        text_add(out, ":%s", text_of(answer->members[i].metadata));
    }
    if (answer->members_count) text_add(out, "]");
}

static void write_fetch(struct text *out, const struct offset_fetch_response_offset_fetch_response_group *answer) {
    for (int32_t i = 0; i < answer->topics_count; i++)
        for (int32_t j = 0; j < answer->topics[i].partitions_count; j++) {
            const struct offset_fetch_response_offset_fetch_response_partitions *at = &answer->topics[i].partitions[j];
            text_add(out, " %s-%d:%lld", text_of(answer->topics[i].name), at->partition_index, (long long)at->committed_offset);
            if (at->metadata.size) text_add(out, "\"%s\"", text_of(at->metadata));
            if (at->error_code) text_add(out, " %s", kafka_error_name(at->error_code));
        }
    if (!answer->topics_count) text_add(out, " nothing");
}

static void write_describe(struct world *world, const struct describe_groups_response_described_group *answer) {
    struct text *out = &world->out;
    text_add(out, " %s type \"%s\" data \"%s\"", text_of(answer->group_state), text_of(answer->protocol_type), text_of(answer->protocol_data));
    for (int32_t i = 0; i < answer->members_count; i++) {
        const struct describe_groups_response_described_group_member *member = &answer->members[i];
        text_add(out, " (%s %s %s %s \"%s\" \"%s\")", name_of(world, member->member_id), text_of(member->group_instance_id), text_of(member->client_id),
                 text_of(member->client_host), text_of(member->member_metadata), text_of(member->member_assignment));
    }
    if (answer->error_message.data) text_add(out, " %s", text_of(answer->error_message));
}

static void write_answer(struct world *world, struct world_request *request) {
    static const char *const names[] = {"join", "sync", "heartbeat", "leave", "commit", "txn-commit", "fetch", "delete-offsets", "list", "describe", "delete", "end-txn", "topic-deleted"};
    struct group_request *group = &request->group;
    struct text *out = &world->out;
    int error = group->error;
    if (!error && group->answer.any) switch (group->type) {
        case GROUP_JOIN: error = group->answer.join->error_code; break;
        case GROUP_SYNC: error = group->answer.sync->error_code; break;
        case GROUP_HEARTBEAT: error = group->answer.heartbeat->error_code; break;
        case GROUP_LEAVE: error = group->answer.leave->error_code; break;
        case GROUP_OFFSET_FETCH: error = group->answer.offset_fetch->error_code; break;
        case GROUP_OFFSET_DELETE: error = group->answer.offset_delete->error_code; break;
        case GROUP_DESCRIBE: error = group->answer.describe->error_code; break;
        case GROUP_DELETE: error = group->answer.deleted->error_code; break;
        default: break;
    }
    text_add(out, "  %s%s%s: %s", request->who, request->who[0] ? " " : "", names[group->type], error ? kafka_error_name((int16_t)error) : "ok");
    if (group->answer.any) switch (group->type) {
        case GROUP_JOIN: text_add(out, " "); write_join(world, group->answer.join); break;
        case GROUP_SYNC: if (!error) text_add(out, " \"%s\"", text_of(group->answer.sync->assignment)); break;
        case GROUP_LEAVE:
            for (int32_t i = 0; i < group->answer.leave->members_count; i++)
                text_add(out, " %s=%s", name_of(world, group->answer.leave->members[i].member_id), kafka_error_name(group->answer.leave->members[i].error_code));
            break;
        case GROUP_OFFSET_COMMIT:
            for (int32_t i = 0; i < group->answer.offset_commit->topics_count; i++)
                for (int32_t j = 0; j < group->answer.offset_commit->topics[i].partitions_count; j++)
                    text_add(out, " %s-%d=%s", text_of(group->answer.offset_commit->topics[i].name), group->answer.offset_commit->topics[i].partitions[j].partition_index,
                             kafka_error_name(group->answer.offset_commit->topics[i].partitions[j].error_code));
            break;
        case GROUP_TXN_OFFSET_COMMIT:
            for (int32_t i = 0; i < group->answer.txn_offset_commit->topics_count; i++)
                for (int32_t j = 0; j < group->answer.txn_offset_commit->topics[i].partitions_count; j++)
                    text_add(out, " %s-%d=%s", text_of(group->answer.txn_offset_commit->topics[i].name), group->answer.txn_offset_commit->topics[i].partitions[j].partition_index,
                             kafka_error_name(group->answer.txn_offset_commit->topics[i].partitions[j].error_code));
            break;
        case GROUP_OFFSET_FETCH: if (!error) write_fetch(out, group->answer.offset_fetch); break;
        case GROUP_OFFSET_DELETE:
            for (int32_t i = 0; i < group->answer.offset_delete->topics_count; i++)
                for (int32_t j = 0; j < group->answer.offset_delete->topics[i].partitions_count; j++)
                    text_add(out, " %s-%d=%s", text_of(group->answer.offset_delete->topics[i].name), group->answer.offset_delete->topics[i].partitions[j].partition_index,
                             kafka_error_name(group->answer.offset_delete->topics[i].partitions[j].error_code));
            break;
        case GROUP_LIST:
            for (int32_t i = 0; i < group->answer.list->groups_count; i++) {
                const struct list_groups_response_listed_group *listed = &group->answer.list->groups[i];
                text_add(out, " %s(%s %s %s)", text_of(listed->group_id), text_of(listed->group_type), text_of(listed->protocol_type), text_of(listed->group_state));
            }
            break;
        case GROUP_DESCRIBE: write_describe(world, group->answer.describe); break;
        default: break;
    }
    text_add(out, "\n");
}

/* ---- Running a decision */

static void answer_all(struct world *world, struct group_effects *effects) {
    struct list *node;
    while ((node = list_pop(&effects->completed))) {
        struct world_request *request = container_of(LIST_ITEM(node, struct group_request, node), struct world_request, group);
        if (world->answered) world->answered(world, request);
        else write_answer(world, request);
        request->used = false;
        arena_destroy(&request->arena);
    }
}

static struct world_batch *append(struct world *world, const struct group_effects *effects) {
    assert_true(world->batch_count < WORLD_BATCHES);
    struct world_batch *stored = &world->batches[world->batch_count++];
    arena_init(&stored->arena, &world->pool, 0);
    struct group_record *records = ARENA_ARRAY(&stored->arena, effects->count + 1, struct group_record);
    for (uint32_t i = 0; i < effects->count; i++)
        assert_true(span_copy(&stored->arena, effects->records[i].key, &records[i].key) && span_copy(&stored->arena, effects->records[i].value, &records[i].value));
    stored->batch = (struct group_batch){.records = records, .count = effects->count, .producer_id = effects->producer_id,
        .producer_epoch = effects->producer_epoch, .marker = effects->marker};
    stored->base = world->end;
    world->end += effects->count + (effects->marker != GROUP_MARKER_NONE);
    return stored;
}

/* As coord does it; what was completed by a decision that the log refused is told so by it. */
static void carry_out(struct world *world, struct group_effects *effects) {
    assert_false(effects->failed);
    bool writes = effects->count > 0 || effects->marker != GROUP_MARKER_NONE;
    if (writes && world->refuse) {
        LIST_EACH(node, &effects->completed) {
            struct group_request *request = LIST_ITEM(node, struct group_request, node);
            request->error = world->refuse;
        }
        group_refused(world->machine, &world->now, world->refuse, effects);
    } else if (writes) {
        struct world_batch *stored = append(world, effects);
        assert_true(group_apply(world->machine, &stored->batch, stored->base, true));
        group_applied(world->machine, &world->now, effects);
    }
    answer_all(world, effects);
}

void world_ask(struct world *world, struct world_request *request) {
    struct arena arena;
    struct group_effects effects;
    arena_init(&arena, &world->pool, 0);
    group_effects_init(&effects, &arena);
    group_decide(world->machine, &request->group, &world->now, &effects);
    carry_out(world, &effects);
    arena_destroy(&arena);
}

void world_advance(struct world *world, time_ms ms) {
    time_ms until = world->now.now_ms + ms;
    for (;;) {
        time_ms due = group_next_deadline(world->machine);
        if (due > until) break;
        if (due > world->now.now_ms) {
            world->now.wall_ms += due - world->now.now_ms;
            world->now.now_ms = due;
        }
        struct arena arena;
        struct group_effects effects;
        arena_init(&arena, &world->pool, 0);
        group_effects_init(&effects, &arena);
        group_tick(world->machine, &world->now, &effects);
        carry_out(world, &effects);
        arena_destroy(&arena);
    }
    world->now.wall_ms += until - world->now.now_ms;
    world->now.now_ms = until;
}

static void replay(struct world *world, struct group_machine *machine) {
    for (uint32_t i = 0; i < world->batch_count; i++)
        assert_true(group_apply(machine, &world->batches[i].batch, world->batches[i].base, false));
}

void world_restart(struct world *world) {
    group_reset(world->machine);
    forget(world);
    replay(world, world->machine);
    struct group_effects effects;
    group_effects_init(&effects, NULL);
    group_loaded(world->machine, &world->now, &effects);
}

/* Line by line; what a group has in memory only is skipped on both sides. */
static bool is_same_state(char *live, char *replayed) {
    char *live_at = NULL, *replayed_at = NULL;
    char *a = strtok_r(live, "\n", &live_at), *b = strtok_r(replayed, "\n", &replayed_at);
    for (; a && b; a = strtok_r(NULL, "\n", &live_at), b = strtok_r(NULL, "\n", &replayed_at)) {
        char *in_memory = strstr(a, " in memory only");
        if (in_memory ? strncmp(a, b, (size_t)(in_memory - a)) : strcmp(a, b)) {
            print_error("live:     %s\nreplayed: %s\n", a, b);
            return false;
        }
    }
    return !a && !b;
}

void world_check(struct world *world) {
    static char live[1 << 18], replayed[1 << 18];
    struct text live_text, replayed_text;
    group_check(world->machine);
    struct group_machine *machine = group_machine_new(&world->pool, &world->settings);
    replay(world, machine);
    group_check(machine);
    text_init(&live_text, live, sizeof live);
    text_init(&replayed_text, replayed, sizeof replayed);
    group_text_persistent(world->machine, &live_text);
    group_text_persistent(machine, &replayed_text);
    assert_false(live_text.cut);
    group_machine_free(machine);
    assert_true(is_same_state(live, replayed));
}

/* ---- Scripts */

struct line { char *words[32]; int count; };

static const char *value(const struct line *line, const char *name) {
    size_t size = strlen(name);
    for (int i = 1; i < line->count; i++)
        if (!strncmp(line->words[i], name, size) && line->words[i][size] == '=') return line->words[i] + size + 1;
    return NULL;
}
static int number(const struct line *line, const char *name, int otherwise) { return value(line, name) ? atoi(value(line, name)) : otherwise; }
static const char *or_(const char *text, const char *otherwise) { return text ? text : otherwise; }
static bool has(const struct line *line, const char *word) {
    for (int i = 1; i < line->count; i++) if (!strcmp(line->words[i], word)) return true;
    return false;
}
static int split(char *text, char separator, char **parts, int max) {
    int count = 0;
    for (char *at = text; at && *at && count < max;) {
        parts[count++] = at;
        if ((at = strchr(at, separator))) *at++ = 0;
    }
    return count;
}

static void run_join(struct world *world, const struct line *line, struct world_request *request) {
    struct join_group_request *join = ARENA_NEW(&request->arena, struct join_group_request);
    join_group_request_init(join);
    join->group_id = world_span(request, or_(value(line, "group"), "g"));
    join->session_timeout_ms = number(line, "session", 10000);
    join->rebalance_timeout_ms = number(line, "rebalance", 60000);
    join->member_id = world_span(request, or_(id_of(world, value(line, "member")), ""));
    join->group_instance_id = world_span(request, value(line, "instance"));
    join->protocol_type = world_span(request, or_(value(line, "type"), "consumer"));
    char copy[256], *parts[16];
    snprintf(copy, sizeof copy, "%s", or_(value(line, "protocols"), "range:x"));
    join->protocols_count = split(copy, ',', parts, 16);
    join->protocols = join_group_request_join_group_request_protocol_array(&request->arena, join->protocols_count);
    for (int i = 0; i < join->protocols_count; i++) {
        char *metadata = strchr(parts[i], ':');
        if (metadata) *metadata++ = 0;
        join->protocols[i].name = world_span(request, parts[i]);
        join->protocols[i].metadata = world_span(request, or_(metadata, ""));
    }
    request->group.join = join;
}

static void run_sync(struct world *world, const struct line *line, struct world_request *request) {
    struct sync_group_request *sync = ARENA_NEW(&request->arena, struct sync_group_request);
    sync_group_request_init(sync);
    sync->group_id = world_span(request, or_(value(line, "group"), "g"));
    sync->generation_id = number(line, "gen", 1);
    sync->member_id = world_span(request, or_(id_of(world, value(line, "member")), ""));
    sync->group_instance_id = world_span(request, value(line, "instance"));
    if (request->group.version >= 5 && !has(line, "bare")) {
        sync->protocol_type = world_span(request, or_(value(line, "type"), "consumer"));
        sync->protocol_name = world_span(request, or_(value(line, "name"), "range"));
    }
    char copy[512], *parts[16];
    snprintf(copy, sizeof copy, "%s", or_(value(line, "assign"), ""));
    sync->assignments_count = split(copy, ',', parts, 16);
    sync->assignments = sync_group_request_sync_group_request_assignment_array(&request->arena, sync->assignments_count);
    for (int i = 0; i < sync->assignments_count; i++) {
        char *part = strchr(parts[i], ':');
        *part++ = 0;
        sync->assignments[i].member_id = world_span(request, id_of(world, parts[i]));
        sync->assignments[i].assignment = world_span(request, part);
    }
    request->group.sync = sync;
}

static void run_heartbeat(struct world *world, const struct line *line, struct world_request *request) {
    struct heartbeat_request *heartbeat = ARENA_NEW(&request->arena, struct heartbeat_request);
    heartbeat_request_init(heartbeat);
    heartbeat->group_id = world_span(request, or_(value(line, "group"), "g"));
    heartbeat->generation_id = number(line, "gen", 1);
    heartbeat->member_id = world_span(request, or_(id_of(world, value(line, "member")), ""));
    heartbeat->group_instance_id = world_span(request, value(line, "instance"));
    request->group.heartbeat = heartbeat;
}

static void run_leave(struct world *world, const struct line *line, struct world_request *request) {
    struct leave_group_request *leave = ARENA_NEW(&request->arena, struct leave_group_request);
    leave_group_request_init(leave);
    leave->group_id = world_span(request, or_(value(line, "group"), "g"));
    char members[256], instances[256], *ids[8], *names[8];
    snprintf(members, sizeof members, "%s", or_(value(line, "member"), ""));
    snprintf(instances, sizeof instances, "%s", or_(value(line, "instance"), ""));
    int id_count = split(members, ',', ids, 8), name_count = split(instances, ',', names, 8);
    leave->members_count = id_count > name_count ? id_count : name_count;
    if (request->group.version < 3) {
        leave->member_id = world_span(request, id_of(world, ids[0]));
        leave->members_count = 0;
    }
    leave->members = leave_group_request_member_identity_array(&request->arena, leave->members_count);
    for (int i = 0; i < leave->members_count; i++) {
        leave->members[i].member_id = world_span(request, i < id_count ? id_of(world, ids[i]) : "");
        leave->members[i].group_instance_id = world_span(request, i < name_count ? names[i] : NULL);
    }
    request->group.leave = leave;
}

/* "t-0:5": the partitions of one topic follow each other. */
static struct offset_commit_request_offset_commit_request_topic *read_offsets(struct world_request *request, const struct line *line, int32_t *count) {
    char copy[512], *parts[16];
    snprintf(copy, sizeof copy, "%s", or_(value(line, "offsets"), ""));
    int parts_count = split(copy, ',', parts, 16);
    struct offset_commit_request_offset_commit_request_topic *topics = offset_commit_request_offset_commit_request_topic_array(&request->arena, 16);
    *count = 0;
    for (int i = 0; i < parts_count; i++) {
        char *offset = strchr(parts[i], ':'), *partition = strrchr(parts[i], '-');
        if (offset) *offset++ = 0;
        *partition++ = 0;
        struct span name = world_span(request, parts[i]);
        struct offset_commit_request_offset_commit_request_topic *topic = *count ? &topics[*count - 1] : NULL;
        if (!topic || !span_equal(topic->name, name)) {
            topic = &topics[(*count)++];
            topic->name = name;
            topic->partitions = offset_commit_request_offset_commit_request_partition_array(&request->arena, 16);
        }
        struct offset_commit_request_offset_commit_request_partition *at = &topic->partitions[topic->partitions_count++];
        at->partition_index = atoi(partition);
        at->committed_offset = offset ? atoll(offset) : 0;
        at->committed_metadata = world_span(request, value(line, "metadata"));
    }
    return topics;
}

static void run_commit(struct world *world, const struct line *line, struct world_request *request) {
    struct offset_commit_request *commit = ARENA_NEW(&request->arena, struct offset_commit_request);
    offset_commit_request_init(commit);
    commit->group_id = world_span(request, or_(value(line, "group"), "g"));
    commit->generation_id_or_member_epoch = number(line, "gen", -1);
    commit->member_id = world_span(request, or_(id_of(world, value(line, "member")), ""));
    commit->group_instance_id = world_span(request, value(line, "instance"));
    commit->retention_time_ms = number(line, "retention", -1);
    commit->topics = read_offsets(request, line, &commit->topics_count);
    request->group.offset_commit = commit;
}

static void run_txn_commit(struct world *world, const struct line *line, struct world_request *request) {
    struct txn_offset_commit_request *commit = ARENA_NEW(&request->arena, struct txn_offset_commit_request);
    txn_offset_commit_request_init(commit);
    commit->group_id = world_span(request, or_(value(line, "group"), "g"));
    commit->producer_id = number(line, "producer", 5);
    commit->producer_epoch = 0;
    commit->generation_id_or_member_epoch = number(line, "gen", -1);
    commit->member_id = world_span(request, or_(id_of(world, value(line, "member")), ""));
    int32_t count;
    struct offset_commit_request_offset_commit_request_topic *topics = read_offsets(request, line, &count);
    commit->topics = txn_offset_commit_request_txn_offset_commit_request_topic_array(&request->arena, count);
    commit->topics_count = count;
    for (int32_t i = 0; i < count; i++) {
        commit->topics[i].name = topics[i].name;
        commit->topics[i].partitions_count = topics[i].partitions_count;
        commit->topics[i].partitions = txn_offset_commit_request_txn_offset_commit_request_partition_array(&request->arena, topics[i].partitions_count);
        for (int32_t j = 0; j < topics[i].partitions_count; j++) {
            commit->topics[i].partitions[j].partition_index = topics[i].partitions[j].partition_index;
            commit->topics[i].partitions[j].committed_offset = topics[i].partitions[j].committed_offset;
        }
    }
    request->group.txn_offset_commit = commit;
}

static void run_fetch(struct world *world, const struct line *line, struct world_request *request) {
    struct offset_fetch_request_offset_fetch_request_group *fetch = ARENA_NEW(&request->arena, struct offset_fetch_request_offset_fetch_request_group);
    offset_fetch_request_offset_fetch_request_group_init(fetch);
    fetch->group_id = world_span(request, or_(value(line, "group"), "g"));
    fetch->topics_count = -1;
    if (value(line, "offsets")) {
        struct offset_commit_request_offset_commit_request_topic *topics = read_offsets(request, line, &fetch->topics_count);
        fetch->topics = offset_fetch_request_offset_fetch_request_topics_array(&request->arena, fetch->topics_count);
        for (int32_t i = 0; i < fetch->topics_count; i++) {
            fetch->topics[i].name = topics[i].name;
            fetch->topics[i].partition_indexes_count = topics[i].partitions_count;
            fetch->topics[i].partition_indexes = ARENA_ARRAY(&request->arena, (size_t)topics[i].partitions_count, int32_t);
            for (int32_t j = 0; j < topics[i].partitions_count; j++) fetch->topics[i].partition_indexes[j] = topics[i].partitions[j].partition_index;
        }
    }
    request->group.offset_fetch.group = fetch;
    request->group.offset_fetch.require_stable = has(line, "stable");
}

static void run_delete_offsets(struct world *world, const struct line *line, struct world_request *request) {
    struct offset_delete_request *body = ARENA_NEW(&request->arena, struct offset_delete_request);
    offset_delete_request_init(body);
    body->group_id = world_span(request, or_(value(line, "group"), "g"));
    struct offset_commit_request_offset_commit_request_topic *topics = read_offsets(request, line, &body->topics_count);
    body->topics = offset_delete_request_offset_delete_request_topic_array(&request->arena, body->topics_count);
    for (int32_t i = 0; i < body->topics_count; i++) {
        body->topics[i].name = topics[i].name;
        body->topics[i].partitions_count = topics[i].partitions_count;
        body->topics[i].partitions = offset_delete_request_offset_delete_request_partition_array(&request->arena, topics[i].partitions_count);
        for (int32_t j = 0; j < topics[i].partitions_count; j++) body->topics[i].partitions[j].partition_index = topics[i].partitions[j].partition_index;
    }
    request->group.offset_delete = body;
}

static struct span *read_list(struct world_request *request, const char *list, int32_t *count) {
    char copy[256], *parts[16];
    snprintf(copy, sizeof copy, "%s", or_(list, ""));
    *count = split(copy, ',', parts, 16);
    struct span *spans = ARENA_ARRAY(&request->arena, 16, struct span);
    for (int i = 0; i < *count; i++) spans[i] = world_span(request, parts[i]);
    return spans;
}

static void run_list(struct world *world, const struct line *line, struct world_request *request) {
    struct list_groups_request *body = ARENA_NEW(&request->arena, struct list_groups_request);
    list_groups_request_init(body);
    body->states_filter = read_list(request, value(line, "states"), &body->states_filter_count);
    body->types_filter = read_list(request, value(line, "types"), &body->types_filter_count);
    request->group.list = body;
}

static void run_by_group(struct world *world, const struct line *line, struct world_request *request) {
    request->group.group_id = world_span(request, or_(value(line, "group"), "g"));
}
static void run_end_txn(struct world *world, const struct line *line, struct world_request *request) {
    request->group.end_txn.producer = number(line, "producer", 5);
    request->group.end_txn.commit = has(line, "commit");
}
static void run_topic_deleted(struct world *world, const struct line *line, struct world_request *request) {
    request->group.topic.name = world_span(request, or_(value(line, "name"), "t"));
}

static enum kafka_error error_named(const char *name) {
    for (int16_t code = -1; code < 140; code++)
        if (!strcmp(kafka_error_name(code), name)) return (enum kafka_error)code;
    fail_msg("no such error: %s", name);
    return KAFKA_NONE;
}

/* The records of the last batch: what Kafka's own tools would show of them. */
static void write_records(struct world *world) {
    struct arena arena;
    arena_init(&arena, &world->pool, 0);
    const struct group_batch *batch = world->batch_count ? &world->batches[world->batch_count - 1].batch : NULL;
    for (uint32_t i = 0; batch && i < batch->count; i++) {
        struct wire_framed key, framed;
        assert_int_equal(wire_coordinator_key_open(WIRE_LOG_GROUP, batch->records[i].key, &key), ERR_NONE);
        text_add(&world->out, "  %s", key.message->name);
        if (!batch->records[i].value.data) {
            text_add(&world->out, " deleted\n");
            continue;
        }
        assert_int_equal(wire_coordinator_value_open(WIRE_LOG_GROUP, (uint32_t)key.message->key, batch->records[i].value, &framed), ERR_NONE);
        text_add(&world->out, " v%d", framed.version);
        if (framed.message == &group_metadata_value_message) {
            struct group_metadata_value value_;
            assert_int_equal(group_metadata_value_decode(&value_, framed.version, framed.body, &arena, NULL), ERR_NONE);
            text_add(&world->out, " type \"%s\" generation %d protocol %s leader %s since %lld members %d", text_of(value_.protocol_type), value_.generation,
                     text_of(value_.protocol), value_.leader.data ? name_of(world, value_.leader) : "-", (long long)value_.current_state_timestamp, value_.members_count);
        } else {
            struct offset_commit_value value_;
            assert_int_equal(offset_commit_value_decode(&value_, framed.version, framed.body, &arena, NULL), ERR_NONE);
            text_add(&world->out, " offset %lld epoch %d metadata \"%s\" at %lld expires %lld", (long long)value_.offset, value_.leader_epoch,
                     text_of(value_.metadata), (long long)value_.commit_timestamp, (long long)value_.expire_timestamp);
        }
        text_add(&world->out, "\n");
    }
    arena_destroy(&arena);
}

static const struct command {
    const char *name;
    enum group_request_type type;
    int version;
    void (*read)(struct world *, const struct line *, struct world_request *);
} commands[] = {
    {"join", GROUP_JOIN, 9, run_join}, {"sync", GROUP_SYNC, 5, run_sync}, {"heartbeat", GROUP_HEARTBEAT, 4, run_heartbeat},
    {"leave", GROUP_LEAVE, 5, run_leave}, {"commit", GROUP_OFFSET_COMMIT, 9, run_commit}, {"txn-commit", GROUP_TXN_OFFSET_COMMIT, 5, run_txn_commit},
    {"fetch", GROUP_OFFSET_FETCH, 9, run_fetch}, {"delete-offsets", GROUP_OFFSET_DELETE, 0, run_delete_offsets},
    {"list", GROUP_LIST, 5, run_list}, {"describe", GROUP_DESCRIBE, 5, run_by_group}, {"delete", GROUP_DELETE, 2, run_by_group},
    {"end-txn", GROUP_END_TXN, 0, run_end_txn}, {"topic-deleted", GROUP_TOPIC_DELETED, 0, run_topic_deleted},
};

static void run_line(struct world *world, const struct line *line) {
    const char *word = line->words[0];
    for (size_t i = 0; i < countof(commands); i++) {
        if (strcmp(commands[i].name, word)) continue;
        const char *who = line->count > 1 && !strchr(line->words[1], '=') && strcmp(line->words[1], "commit") && strcmp(line->words[1], "abort") ? line->words[1] : "";
        struct world_request *request = world_request(world, commands[i].type, number(line, "v", commands[i].version), who);
        commands[i].read(world, line, request);
        world_ask(world, request);
        return;
    }
    if (!strcmp(word, "time")) world_advance(world, atoll(line->words[1]));
    else if (!strcmp(word, "refuse")) world->refuse = error_named(line->words[1]);
    else if (!strcmp(word, "accept")) world->refuse = KAFKA_NONE;
    else if (!strcmp(word, "restart")) world_restart(world);
    else if (!strcmp(word, "records")) write_records(world);
    else if (!strcmp(word, "metadata-max")) { world->settings.offset_metadata_bytes_max = atoi(line->words[1]); group_machine_settings(world->machine, &world->settings); }
    else if (!strcmp(word, "full")) { world->settings.size_max = atoi(line->words[1]); group_machine_settings(world->machine, &world->settings); }
    else if (!strcmp(word, "state")) {
        char bytes[2048], *at = bytes;
        struct text text;
        text_init(&text, bytes, sizeof bytes);
        group_text(world->machine, span_text(or_(value(line, "group"), "g")), &text);
        text_add(&world->out, "  ");
        /* Ids stand alone between spaces and brackets. */
        while (*at) {
            size_t word_size = strcspn(at, " [],");
            if (word_size > 37) text_add(&world->out, "%s", name_of(world, span_of(at, word_size)));
            else text_add(&world->out, "%.*s", (int)word_size, at);
            at += word_size;
            if (*at) text_add(&world->out, "%c", *at++);
        }
        text_add(&world->out, "\n");
    } else fail_msg("no such event: %s", word);
}

void world_run(const char *script) {
    struct world *world = world_new();
    char *copy = strdup(script), *at = NULL;
    for (char *row = strtok_r(copy, "\n", &at); row; row = strtok_r(NULL, "\n", &at)) {
        if (strncmp(row, "> ", 2)) continue;
        text_add(&world->out, "%s\n", row);
        struct line line = {.count = 0};
        line.count = split(row + 2, ' ', line.words, 32);
        run_line(world, &line);
        world_check(world);
    }
    if (strcmp(script, world->out.bytes)) fprintf(stderr, "what came of it:\n%s", world->out.bytes);
    assert_string_equal(world->out.bytes, script);
    free(copy);
    world_free(world);
}
