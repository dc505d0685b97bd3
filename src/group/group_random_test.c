#include "group/group_world.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Consumers that behave as clients do, more or less: they join, lead, sync, send heartbeats, commit, leave, die without a
 * word, come back with what they remember, and use old generations; static ones among them. Time passes, the log refuses,
 * the coordinator restarts. What the outside must see, whatever happens:
 *   [G1] an offset reads back as the last one that was acknowledged
 *   [G2] generations that are told never fall while a coordinator lives; nobody of an older one is told that all is well
 *   [G3] in one generation a partition has one owner - also over restarts
 * and after each step the log alone brings back the same state. In the end, when all is quiet, everyone is in one stable
 * generation that shares out all partitions. */
enum { CLIENTS = 7, GROUPS = 2, PARTITIONS = 6, GENERATIONS = 4000 };
enum phase { OUT, JOINING, JOINED, SYNCING, STABLE };

struct client {
    int number, group;
    const char *name, *instance;
    enum phase phase;
    bool busy, dead;
    char member[96];
    int32_t generation;
    char metadata[8];
    char plan[GROUPS * 400];    /* the leader's: member ids, one a line */
    unsigned owned;             /* a bit for each partition             */
    time_ms heartbeat_at, dead_until;
};

struct play {
    struct world *world;
    struct client clients[CLIENTS];
    int32_t told[GROUPS];       /* the highest generation that any join was answered with, in this life */
    char (*owners)[GENERATIONS][PARTITIONS][96];
    int64_t committed[GROUPS][PARTITIONS];
    int64_t next_offset;
    int stable, commits, restarts, fenced;
    bool calm;
};

struct ask { struct client *client; int32_t generation; int64_t offset; int partition; };
static struct ask asks[WORLD_REQUESTS];

static const char *group_name(int group) { return group ? "h" : "g"; }

static struct world_request *ask(struct play *play, struct client *client, enum group_request_type type, int version) {
    struct world_request *request = world_request(play->world, type, version, client->name);
    asks[request - play->world->requests] = (struct ask){.client = client, .generation = client->generation};
    return request;
}

static void join(struct play *play, struct client *client) {
    struct world_request *request = ask(play, client, GROUP_JOIN, client->number % 2 ? 3 : client->instance ? 9 : 8);
    if (client->instance && request->group.version < 5) request->group.version = 7;
    struct join_group_request *join = ARENA_NEW(&request->arena, struct join_group_request);
    join_group_request_init(join);
    join->group_id = world_span(request, group_name(client->group));
    join->session_timeout_ms = 10000;
    join->rebalance_timeout_ms = 15000;
    join->member_id = world_span(request, client->member);
    join->group_instance_id = world_span(request, client->instance);
    join->protocol_type = world_span(request, "consumer");
    join->protocols_count = 2;
    join->protocols = join_group_request_join_group_request_protocol_array(&request->arena, 2);
    for (int i = 0; i < 2; i++) {
        join->protocols[i].name = world_span(request, (i + client->number) % 2 ? "range" : "roundrobin");
        join->protocols[i].metadata = world_span(request, client->metadata);
    }
    request->group.join = join;
    client->phase = JOINING;
    client->busy = true;
    world_ask(play->world, request);
}

/* The leader deals partitions out to the members that it was told of, one after the other. */
static void sync(struct play *play, struct client *client) {
    struct world_request *request = ask(play, client, GROUP_SYNC, 4);
    struct sync_group_request *sync = ARENA_NEW(&request->arena, struct sync_group_request);
    sync_group_request_init(sync);
    sync->group_id = world_span(request, group_name(client->group));
    sync->generation_id = client->generation;
    sync->member_id = world_span(request, client->member);
    sync->group_instance_id = world_span(request, client->instance);
    char plan[sizeof client->plan], *place = NULL, *members[CLIENTS * 4];
    int count = 0;
    strcpy(plan, client->plan);
    for (char *id = strtok_r(plan, "\n", &place); id; id = strtok_r(NULL, "\n", &place)) members[count++] = id;
    sync->assignments_count = count;
    sync->assignments = sync_group_request_sync_group_request_assignment_array(&request->arena, count);
    for (int i = 0; i < count; i++) {
        char parts[PARTITIONS + 1] = "";
        for (int p = 0; p < PARTITIONS; p++) if (p % count == i) { char digit[2] = {(char)('0' + p), 0}; strcat(parts, digit); }
        sync->assignments[i].member_id = world_span(request, members[i]);
        sync->assignments[i].assignment = world_span(request, parts);
    }
    request->group.sync = sync;
    client->phase = SYNCING;
    client->busy = true;
    world_ask(play->world, request);
}

static void heartbeat(struct play *play, struct client *client, int32_t generation) {
    struct world_request *request = ask(play, client, GROUP_HEARTBEAT, 4);
    struct heartbeat_request *body = ARENA_NEW(&request->arena, struct heartbeat_request);
    heartbeat_request_init(body);
    body->group_id = world_span(request, group_name(client->group));
    body->generation_id = generation;
    body->member_id = world_span(request, client->member);
    body->group_instance_id = world_span(request, client->instance);
    request->group.heartbeat = body;
    asks[request - play->world->requests].generation = generation;
    world_ask(play->world, request);
}

static void commit(struct play *play, struct client *client, int32_t generation) {
    struct world_request *request = ask(play, client, GROUP_OFFSET_COMMIT, 8);
    struct offset_commit_request *body = ARENA_NEW(&request->arena, struct offset_commit_request);
    struct ask *asked = &asks[request - play->world->requests];
    offset_commit_request_init(body);
    body->group_id = world_span(request, group_name(client->group));
    body->generation_id_or_member_epoch = generation;
    body->member_id = world_span(request, client->member);
    body->group_instance_id = world_span(request, client->instance);
    body->topics_count = 1;
    body->topics = offset_commit_request_offset_commit_request_topic_array(&request->arena, 1);
    body->topics[0].name = world_span(request, "t");
    body->topics[0].partitions_count = 1;
    body->topics[0].partitions = offset_commit_request_offset_commit_request_partition_array(&request->arena, 1);
    asked->partition = (int)random_below(&play->world->random, PARTITIONS);
    asked->offset = ++play->next_offset;
    asked->generation = generation;
    body->topics[0].partitions[0].partition_index = asked->partition;
    body->topics[0].partitions[0].committed_offset = asked->offset;
    request->group.offset_commit = body;
    world_ask(play->world, request);
}

static void fetch_all(struct play *play, int group) {
    struct client nobody = {.name = "reader", .group = group};
    struct world_request *request = ask(play, &nobody, GROUP_OFFSET_FETCH, 8);
    struct offset_fetch_request_offset_fetch_request_group *body = ARENA_NEW(&request->arena, struct offset_fetch_request_offset_fetch_request_group);
    offset_fetch_request_offset_fetch_request_group_init(body);
    body->group_id = world_span(request, group_name(group));
    body->topics_count = 1;
    body->topics = offset_fetch_request_offset_fetch_request_topics_array(&request->arena, 1);
    body->topics[0].name = world_span(request, "t");
    body->topics[0].partition_indexes_count = PARTITIONS;
    body->topics[0].partition_indexes = ARENA_ARRAY(&request->arena, PARTITIONS, int32_t);
    for (int32_t p = 0; p < PARTITIONS; p++) body->topics[0].partition_indexes[p] = p;
    request->group.offset_fetch.group = body;
    asks[request - play->world->requests].partition = group;
    world_ask(play->world, request);
}

static void leave(struct play *play, struct client *client) {
    struct world_request *request = ask(play, client, GROUP_LEAVE, 4);
    struct leave_group_request *body = ARENA_NEW(&request->arena, struct leave_group_request);
    leave_group_request_init(body);
    body->group_id = world_span(request, group_name(client->group));
    body->members_count = 1;
    body->members = leave_group_request_member_identity_array(&request->arena, 1);
    body->members[0].member_id = world_span(request, client->member);
    request->group.leave = body;
    world_ask(play->world, request);
}

static void out(struct client *client, bool forgets) {
    client->phase = OUT;
    client->owned = 0;
    if (forgets) client->member[0] = 0;
}

static void copy_id(char target[96], struct span id) {
    assert_true(id.size < 96);
    if (id.size) memcpy(target, id.data, id.size);
    target[id.size] = 0;
}

static void joined(struct play *play, struct client *client, const struct join_group_response *answer) {
    client->busy = false;
    if (answer->error_code == KAFKA_MEMBER_ID_REQUIRED) {
        copy_id(client->member, answer->member_id);
        out(client, false);
    } else if (answer->error_code) {
        play->fenced += answer->error_code == KAFKA_FENCED_INSTANCE_ID;
        out(client, answer->error_code == KAFKA_UNKNOWN_MEMBER_ID || answer->error_code == KAFKA_FENCED_INSTANCE_ID);
    } else {
        assert_true(answer->generation_id >= play->told[client->group]); /* [G2] */
        play->told[client->group] = answer->generation_id;
        client->generation = answer->generation_id;
        copy_id(client->member, answer->member_id);
        client->plan[0] = 0;
        bool leads = span_equal(answer->leader, answer->member_id);
        assert_int_equal(leads && !answer->skip_assignment && answer->members_count > 0, answer->members_count > 0 && !answer->skip_assignment);
        for (int32_t i = 0; i < answer->members_count && !answer->skip_assignment; i++) {
            char id[96];
            copy_id(id, answer->members[i].member_id);
            strcat(strcat(client->plan, id), "\n");
        }
        client->phase = JOINED;
    }
}

static void synced(struct play *play, struct client *client, const struct sync_group_response *answer) {
    client->busy = false;
    if (answer->error_code) {
        out(client, answer->error_code == KAFKA_UNKNOWN_MEMBER_ID || answer->error_code == KAFKA_FENCED_INSTANCE_ID);
        return;
    }
    client->phase = STABLE;
    client->owned = 0;
    play->stable++;
    client->heartbeat_at = play->world->now.now_ms + 3000;
    assert_true(client->generation < GENERATIONS);
    for (size_t i = 0; i < answer->assignment.size; i++) {
        int partition = answer->assignment.data[i] - '0';
        char *owner = play->owners[client->group][client->generation][partition];
        const char *self = client->instance ? client->instance : client->member; /* a static member may have come back */
        if (owner[0]) assert_string_equal(owner, self);                           /* [G3] */
        strcpy(owner, self);
        client->owned |= 1u << partition;
    }
}

static void answered(struct world *world, struct world_request *request) {
    struct play *play = world->context;
    struct ask *asked = &asks[request - world->requests];
    struct client *client = asked->client;
    bool refused = request->group.error;
    switch (request->group.type) {
    case GROUP_JOIN:
        if (refused) { client->busy = false; out(client, false); }
        else if (!client->dead) joined(play, client, request->group.answer.join);
        else client->busy = false;
        break;
    case GROUP_SYNC:
        if (refused) { client->busy = false; out(client, false); }
        else if (!client->dead) synced(play, client, request->group.answer.sync);
        else client->busy = false;
        break;
    case GROUP_HEARTBEAT: {
        int error = request->group.answer.heartbeat->error_code;
        if (!error || error == KAFKA_REBALANCE_IN_PROGRESS) assert_int_equal(asked->generation, group_find(world->machine, request->group.heartbeat->group_id)->generation); /* [G2] */
        if (!error) assert_true(asked->generation >= play->told[client->group]);
        client->heartbeat_at = world->now.now_ms + 3000;
        if (asked->generation != client->generation) break; /* that was an old one on purpose */
        if (error == KAFKA_REBALANCE_IN_PROGRESS) out(client, false);
        else if (error) out(client, error != KAFKA_ILLEGAL_GENERATION);
        break;
    }
    case GROUP_OFFSET_COMMIT: {
        int error = refused ? 1 : request->group.answer.offset_commit->topics[0].partitions[0].error_code;
        if (error) break;
        assert_true(asked->generation >= play->told[client->group]);
        play->committed[client->group][asked->partition] = asked->offset;
        play->commits++;
        break;
    }
    case GROUP_OFFSET_FETCH:
        for (int p = 0; p < PARTITIONS; p++)
            assert_int_equal(request->group.answer.offset_fetch->topics[0].partitions[p].committed_offset, play->committed[asked->partition][p]); /* [G1] */
        break;
    default: break;
    }
}

static void restart(struct play *play) {
    world_restart(play->world);
    for (int i = 0; i < CLIENTS; i++)
        if (play->clients[i].busy) {
            play->clients[i].busy = false;
            out(&play->clients[i], false);
        }
    memset(play->told, 0, sizeof play->told);
    play->restarts++;
}

static void act(struct play *play, struct client *client) {
    struct random *random = &play->world->random;
    time_ms now = play->world->now.now_ms;
    if (client->dead) {
        if (now < client->dead_until || client->busy) return;
        client->dead = false;
        out(client, client->instance || random_chance(random, 1, 2));
    }
    if (client->busy) return;
    switch (client->phase) {
    case OUT: join(play, client); break;
    case JOINED: sync(play, client); break;
    case STABLE:
        if (!play->calm && random_chance(random, 1, 6)) commit(play, client, client->generation - (random_chance(random, 1, 8) && client->generation > 1));
        else if (!play->calm && random_chance(random, 1, 30)) {
            client->metadata[0] = (char)('a' + random_below(random, 3));
            out(client, false); /* subscribes to something else: joins again */
        } else if (!play->calm && random_chance(random, 1, 40) && !client->instance) {
            leave(play, client);
            out(client, true);
        } else if (now >= client->heartbeat_at) heartbeat(play, client, client->generation);
        else if (!play->calm && random_chance(random, 1, 20) && client->generation > 1) heartbeat(play, client, client->generation - 1);
        break;
    case JOINING: case SYNCING: break;
    }
    if (!play->calm && random_chance(random, 1, 60)) {
        client->dead = true;
        client->dead_until = now + (time_ms)random_below(random, 30000);
    }
}

static void run(uint64_t seed, int *stable, int *commits, int *fenced) {
    struct play *play = calloc(1, sizeof *play);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "i"};
    play->world = world_new();
    play->world->answered = answered;
    play->world->context = play;
    play->world->settings.initial_rebalance_delay_ms = (int32_t)(seed % 3) * 1000;
    group_machine_settings(play->world->machine, &play->world->settings);
    play->owners = calloc(GROUPS, sizeof *play->owners);
    memset(play->committed, -1, sizeof play->committed);
    random_seed(&play->world->random, seed);
    struct random *random = &play->world->random;
    for (int i = 0; i < CLIENTS; i++)
        play->clients[i] = (struct client){.number = i, .name = names[i], .group = i % GROUPS, .instance = i == 2 ? "one" : i == 3 ? "two" : NULL, .metadata = "a"};
    for (int i = 0; i < 900; i++) {
        act(play, &play->clients[random_below(random, CLIENTS)]);
        if (random_chance(random, 1, 3)) world_advance(play->world, (time_ms)random_below(random, 2500));
        if (random_chance(random, 1, 60)) play->world->refuse = play->world->refuse ? KAFKA_NONE : KAFKA_NOT_ENOUGH_REPLICAS;
        if (random_chance(random, 1, 150)) restart(play);
        if (random_chance(random, 1, 10)) fetch_all(play, (int)random_below(random, GROUPS));
        group_check(play->world->machine);
        if (i % 16 == 0) world_check(play->world);
    }
    play->calm = true;
    play->world->refuse = KAFKA_NONE;
    for (int i = 0; i < CLIENTS; i++) play->clients[i].dead_until = 0;
    for (int i = 0; i < 3000; i++) {
        act(play, &play->clients[i % CLIENTS]);
        world_advance(play->world, 50);
    }
    world_check(play->world);
    for (int g = 0; g < GROUPS; g++) {
        unsigned owned = 0;
        for (int i = 0; i < CLIENTS; i++) {
            if (play->clients[i].group != g) continue;
            assert_int_equal(play->clients[i].phase, STABLE);
            assert_int_equal(owned & play->clients[i].owned, 0);
            owned |= play->clients[i].owned;
        }
        assert_int_equal(owned, (1u << PARTITIONS) - 1);
        fetch_all(play, g);
    }
    *stable += play->stable;
    *commits += play->commits;
    *fenced += play->fenced;
    free(play->owners);
    world_free(play->world);
    free(play);
}

TEST(group_clients_see_what_they_were_promised) {
    int stable = 0, commits = 0, fenced = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) run(seed, &stable, &commits, &fenced);
    print_message("%d assignments taken, %d commits, %d fenced\n", stable, commits, fenced);
    assert_true(stable > 2000 && commits > 500);
}
