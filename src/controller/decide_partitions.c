#include "controller/partition_change.h"

/* ---- AlterPartition: a leader tells who is in sync */

static bool repeats(const int32_t *ids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i + 1; k < count; k++)
            if (ids[i] == ids[k]) return true;
    return false;
}

static bool all_are_eligible(const struct decide *d, const struct alter_partition_request_broker_state *states, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        const struct image_broker *broker = image_broker(d->image, states[i].broker_id);
        if (!broker || broker->in_controlled_shutdown || broker->fenced) return false;
        if (states[i].broker_epoch != -1 && states[i].broker_epoch != broker->epoch) return false;
    }
    return true;
}

/* The checks in Kafka's order. A leader that knows more than this controller talks to one that is no longer it. */
static enum kafka_error check_alter(const struct decide *d, broker_id sender, const struct image_partition *p,
                                    const struct alter_partition_request_partition_data *in, struct broker_list isr,
                                    const struct alter_partition_request_broker_state *states) {
    if (!p) return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (in->leader_epoch > p->leader_epoch || in->partition_epoch > p->partition_epoch) return KAFKA_NOT_CONTROLLER;
    if (in->leader_epoch < p->leader_epoch) return KAFKA_FENCED_LEADER_EPOCH;
    if (sender != p->leader) return KAFKA_INVALID_REQUEST;
    if (in->partition_epoch < p->partition_epoch) return KAFKA_INVALID_UPDATE_VERSION;
    if (isr.count == 0 || isr.count > p->replicas || repeats(isr.ids, isr.count)) return KAFKA_INVALID_REQUEST;
    for (uint32_t i = 0; i < isr.count; i++)
        if (image_replica_index(p, isr.ids[i]) < 0) return KAFKA_INVALID_REQUEST;
    if (!broker_list_contains(isr, p->leader)) return KAFKA_INVALID_REQUEST;
    if (in->leader_recovery_state != LEADER_RECOVERED && in->leader_recovery_state != LEADER_RECOVERING) return KAFKA_INVALID_REQUEST;
    if (in->leader_recovery_state == LEADER_RECOVERING && (isr.count > 1 || p->recovery == LEADER_RECOVERED)) return KAFKA_INVALID_REQUEST;
    return all_are_eligible(d, states, (int32_t)isr.count) ? KAFKA_NONE : KAFKA_INELIGIBLE_REPLICA;
}

/* What the partition will be, as the leader must know it. */
static void tell_partition(struct decide *d, struct alter_partition_response_partition_data *out, const struct image_partition *p,
                           const struct partition_change_record *r) {
    bool changed = r != NULL;
    out->leader_id = changed && r->leader != -2 ? r->leader : p->leader;
    out->leader_epoch = changed && r->leader != -2 ? p->leader_epoch + 1 : p->leader_epoch;
    out->leader_recovery_state = changed && r->leader_recovery_state != -1 ? r->leader_recovery_state : p->recovery;
    out->partition_epoch = p->partition_epoch + changed;
    struct image_ids isr = changed && r->isr_count >= 0 ? (struct image_ids){r->isr, (uint32_t)r->isr_count} : image_isr(p);
    out->isr = decide_answer_alloc(d, isr.count, sizeof *out->isr);
    if (!out->isr) return;
    for (uint32_t i = 0; i < isr.count; i++) out->isr[i] = isr.ids[i];
    out->isr_count = (int32_t)isr.count;
}

static void alter_one(struct decide *d, int16_t version, broker_id sender, const struct image_topic *topic, const struct topic_rules *rules,
                      const struct alter_partition_request_partition_data *in, struct alter_partition_response_partition_data *out) {
    const struct image_partition *p = image_partition(topic, in->partition_index);
    int32_t count = version >= 3 ? in->new_isr_with_epochs_count : in->new_isr_count;
    struct broker_list isr = {decide_alloc(d, (size_t)(count > 0 ? count : 0), sizeof(broker_id)), (uint32_t)(count > 0 ? count : 0)};
    struct alter_partition_request_broker_state *states = decide_alloc(d, isr.count, sizeof *states);
    if (d->failed) return;
    for (uint32_t i = 0; i < isr.count; i++) {
        isr.ids[i] = version >= 3 ? in->new_isr_with_epochs[i].broker_id : in->new_isr[i];
        states[i].broker_id = isr.ids[i];
        states[i].broker_epoch = version >= 3 ? in->new_isr_with_epochs[i].broker_epoch : -1;
    }
    out->error_code = (int16_t)check_alter(d, sender, p, in, isr, states);
    if (out->error_code) return;
    struct partition_change change;
    partition_change_init(&change, d, topic, p, rules, true);
    change.isr = isr;
    change.recovery = in->leader_recovery_state;
    struct partition_change_record record;
    bool changes = partition_change_build(&change, &record);
    if (d->failed) return;
    if (changes) partition_change_add(d, &record);
    if (changes && record.leader != -2 && record.leader != sender) {
        /* A reassignment has ended, and with it this leader: it must not take the rest of the answer for its own. */
        out->error_code = KAFKA_NEW_LEADER_ELECTED;
        return;
    }
    tell_partition(d, out, p, changes ? &record : NULL);
}

void decide_alter_partition(struct decide *d, int16_t version, const struct alter_partition_request *in, struct alter_partition_response *out) {
    out->error_code = (int16_t)decide_check_epoch(d, in->broker_id, in->broker_epoch);
    if (out->error_code) return;
    out->topics = decide_answer_alloc(d, (size_t)in->topics_count, sizeof *out->topics);
    if (!out->topics) return;
    out->topics_count = in->topics_count;
    for (int32_t t = 0; t < in->topics_count && !d->failed; t++) {
        const struct alter_partition_request_topic_data *from = &in->topics[t];
        struct alter_partition_response_topic_data *to = &out->topics[t];
        alter_partition_response_topic_data_init(to);
        to->topic_id = from->topic_id;
        to->partitions = decide_answer_alloc(d, (size_t)from->partitions_count, sizeof *to->partitions);
        if (!to->partitions) return;
        to->partitions_count = from->partitions_count;
        const struct image_topic *topic = image_topic_by_id(d->image, from->topic_id);
        struct topic_rules rules = topic ? topic_rules(d, topic) : (struct topic_rules){0};
        for (int32_t i = 0; i < from->partitions_count && !d->failed; i++) {
            alter_partition_response_partition_data_init(&to->partitions[i]);
            to->partitions[i].partition_index = from->partitions[i].partition_index;
            if (!topic) to->partitions[i].error_code = KAFKA_UNKNOWN_TOPIC_ID;
            else alter_one(d, version, in->broker_id, topic, &rules, &from->partitions[i], &to->partitions[i]);
        }
    }
}

/* ---- ElectLeaders */

enum { ELECTION_TYPE_PREFERRED = 0, ELECTION_TYPE_UNCLEAN = 1 };

static bool has_preferred_leader(const struct image_partition *p) {
    return p->replicas == 0 || p->leader == image_replicas(p).ids[0];
}

static enum kafka_error elect_one(struct decide *d, const struct image_topic *topic, const struct image_partition *p, int8_t type,
                                  const struct topic_rules *rules) {
    if (type == ELECTION_TYPE_PREFERRED ? has_preferred_leader(p) : p->leader >= 0) return KAFKA_ELECTION_NOT_NEEDED;
    struct partition_change change;
    partition_change_init(&change, d, topic, p, rules, false);
    change.election = type == ELECTION_TYPE_PREFERRED ? ELECT_PREFERRED : ELECT_UNCLEAN;
    struct partition_change_record record;
    if (!partition_change_build(&change, &record))
        return type == ELECTION_TYPE_PREFERRED ? KAFKA_PREFERRED_LEADER_NOT_AVAILABLE : KAFKA_ELIGIBLE_LEADERS_NOT_AVAILABLE;
    partition_change_add(d, &record);
    return KAFKA_NONE;
}

/* Fills one topic's results: of the partitions that were asked for, or of all where an election was needed. */
static void elect_topic(struct decide *d, struct span name, const int32_t *asked, int32_t asked_count, int8_t type,
                        struct elect_leaders_response_replica_election_result *out) {
    const struct image_topic *topic = image_topic(d->image, name);
    bool all = asked == NULL;
    uint32_t count = all ? topic->partition_count : (uint32_t)asked_count;
    elect_leaders_response_replica_election_result_init(out);
    out->topic = name;
    out->partition_result = decide_answer_alloc(d, count, sizeof *out->partition_result);
    if (!out->partition_result) return;
    struct topic_rules rules = topic ? topic_rules(d, topic) : (struct topic_rules){0};
    const struct image_partition *p = NULL;
    for (uint32_t i = 0; i < count && !d->failed; i++) {
        if (topic) p = all ? image_partition_next(topic, p) : image_partition(topic, asked[i]);
        struct elect_leaders_response_partition_result *to = &out->partition_result[out->partition_result_count];
        elect_leaders_response_partition_result_init(to);
        to->partition_id = all ? p->index : asked[i];
        to->error_message = (struct span){0};
        to->error_code = !topic || !p ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : (int16_t)elect_one(d, topic, p, type, &rules);
        if (to->error_code == KAFKA_ELECTION_NOT_NEEDED) to->error_message = SPAN_LITERAL("the leader is the one that would be elected");
        if (to->error_code == KAFKA_PREFERRED_LEADER_NOT_AVAILABLE) to->error_message = SPAN_LITERAL("the first replica cannot lead now");
        if (to->error_code == KAFKA_ELIGIBLE_LEADERS_NOT_AVAILABLE) to->error_message = SPAN_LITERAL("no replica can lead now");
        if (to->error_code == KAFKA_UNKNOWN_TOPIC_OR_PARTITION) to->error_message = decide_text(d, "there is no partition %.*s-%d", SPAN_ARGS(name), to->partition_id);
        if (!all || to->error_code != KAFKA_ELECTION_NOT_NEEDED) out->partition_result_count++;
    }
}

/* Each partition that was named is told, besides the whole. */
static void refuse_type(struct decide *d, const struct elect_leaders_request *in, struct elect_leaders_response *out) {
    int32_t topics = in->topic_partitions_count > 0 ? in->topic_partitions_count : 0;
    out->error_code = KAFKA_INVALID_REQUEST;
    out->replica_election_results = decide_answer_alloc(d, (size_t)topics, sizeof *out->replica_election_results);
    for (int32_t t = 0; t < topics && !d->failed; t++) {
        const struct elect_leaders_request_topic_partitions *from = &in->topic_partitions[t];
        struct elect_leaders_response_replica_election_result *to = &out->replica_election_results[out->replica_election_results_count++];
        elect_leaders_response_replica_election_result_init(to);
        to->topic = from->topic;
        to->partition_result = decide_answer_alloc(d, (size_t)from->partitions_count, sizeof *to->partition_result);
        for (int32_t i = 0; i < from->partitions_count && !d->failed; i++) {
            struct elect_leaders_response_partition_result *one = &to->partition_result[to->partition_result_count++];
            elect_leaders_response_partition_result_init(one);
            one->partition_id = from->partitions[i];
            one->error_code = KAFKA_INVALID_REQUEST;
            one->error_message = decide_text(d, "there is no type %d of elections", in->election_type);
        }
    }
}

void decide_elect_leaders(struct decide *d, const struct elect_leaders_request *in, struct elect_leaders_response *out) {
    if (in->topic_partitions_count == 0) return; /* nobody looks at the type then */
    if (in->election_type != ELECTION_TYPE_PREFERRED && in->election_type != ELECTION_TYPE_UNCLEAN) {
        refuse_type(d, in, out);
        return;
    }
    bool all = in->topic_partitions_count < 0;
    size_t topics = all ? image_topic_count(d->image) : (size_t)in->topic_partitions_count;
    out->replica_election_results = decide_answer_alloc(d, topics, sizeof *out->replica_election_results);
    if (!out->replica_election_results) return;
    const struct image_topic *topic = NULL;
    for (size_t t = 0; t < topics && !d->failed; t++) {
        if (all) topic = image_topic_next(d->image, topic);
        struct elect_leaders_response_replica_election_result *to = &out->replica_election_results[t];
        if (all) elect_topic(d, topic->name, NULL, 0, in->election_type, to);
        else {
            static const int32_t none; /* asked for no partition is not asked for all */
            const struct elect_leaders_request_topic_partitions *from = &in->topic_partitions[t];
            elect_topic(d, from->topic, from->partitions_count > 0 ? from->partitions : &none, from->partitions_count > 0 ? from->partitions_count : 0,
                        in->election_type, to);
        }
        out->replica_election_results_count++;
    }
    if (d->count > DECIDE_RECORDS_MAX) {
        decide_undo(d, 0);
        out->replica_election_results_count = 0;
        out->error_code = KAFKA_POLICY_VIOLATION;
    }
}

/* ---- AssignReplicasToDirs: a broker tells where its replicas are */

static enum kafka_error assign_one(struct decide *d, broker_id id, const struct image_broker *broker, struct uuid directory,
                                   const struct image_topic *topic, const struct topic_rules *rules, partition_index index) {
    const struct image_partition *p = image_partition(topic, index);
    if (!p) return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (image_replica_index(p, id) < 0) return KAFKA_NOT_LEADER_OR_FOLLOWER;
    struct partition_change change;
    partition_change_init(&change, d, topic, p, rules, false);
    change.assign = id;
    change.directory = directory;
    if (!image_directory_is_online(broker, directory)) { /* the replica is where nothing can be read any more */
        change.remove = id;
        partition_change_shrink(&change, id, -1);
        if (rules->unclean) change.election = ELECT_UNCLEAN;
    }
    struct partition_change_record record;
    if (partition_change_build(&change, &record)) partition_change_add(d, &record);
    return KAFKA_NONE;
}

void decide_assign_replicas(struct decide *d, const struct assign_replicas_to_dirs_request *in, struct assign_replicas_to_dirs_response *out) {
    if (!mv_has_directories(decide_mv(d))) {
        out->error_code = KAFKA_UNSUPPORTED_VERSION;
        return;
    }
    out->error_code = (int16_t)decide_check_epoch(d, in->broker_id, in->broker_epoch);
    if (out->error_code) return;
    const struct image_broker *broker = image_broker(d->image, in->broker_id);
    out->directories = decide_answer_alloc(d, (size_t)in->directories_count, sizeof *out->directories);
    if (!out->directories) return;
    out->directories_count = in->directories_count;
    for (int32_t k = 0; k < in->directories_count; k++) {
        const struct assign_replicas_to_dirs_request_directory_data *from_dir = &in->directories[k];
        struct assign_replicas_to_dirs_response_directory_data *to_dir = &out->directories[k];
        assign_replicas_to_dirs_response_directory_data_init(to_dir);
        to_dir->id = from_dir->id;
        to_dir->topics = decide_answer_alloc(d, (size_t)from_dir->topics_count, sizeof *to_dir->topics);
        if (!to_dir->topics) return;
        to_dir->topics_count = from_dir->topics_count;
        for (int32_t t = 0; t < from_dir->topics_count; t++) {
            const struct assign_replicas_to_dirs_request_topic_data *from = &from_dir->topics[t];
            struct assign_replicas_to_dirs_response_topic_data *to = &to_dir->topics[t];
            assign_replicas_to_dirs_response_topic_data_init(to);
            to->topic_id = from->topic_id;
            to->partitions = decide_answer_alloc(d, (size_t)from->partitions_count, sizeof *to->partitions);
            if (!to->partitions) return;
            to->partitions_count = from->partitions_count;
            const struct image_topic *topic = image_topic_by_id(d->image, from->topic_id);
            struct topic_rules rules = topic ? topic_rules(d, topic) : (struct topic_rules){0};
            for (int32_t i = 0; i < from->partitions_count && !d->failed; i++) {
                assign_replicas_to_dirs_response_partition_data_init(&to->partitions[i]);
                to->partitions[i].partition_index = from->partitions[i].partition_index;
                to->partitions[i].error_code = !topic ? KAFKA_UNKNOWN_TOPIC_ID
                    : (int16_t)assign_one(d, in->broker_id, broker, from_dir->id, topic, &rules, from->partitions[i].partition_index);
            }
        }
    }
}

/* ---- what a change of brokers means for partitions */

static bool is_swept(const struct sweep *s, const struct image_partition *p) {
    if (s->leaderless) return p->leader < 0;
    if (s->directory) {
        int32_t replica = image_replica_index(p, s->remove);
        return replica >= 0 && uuid_equal(image_directory(p, (uint32_t)replica), *s->directory);
    }
    broker_id gone = s->remove >= 0 ? s->remove : s->unclean;
    if (image_ids_contain(image_isr(p), gone) || p->leader == gone) return true;
    return (s->elr || s->unclean >= 0) && image_ids_contain(image_elr(p), gone);
}

bool decide_sweep(struct decide *d, const struct sweep *sweep) {
    uint32_t before = d->count;
    for (const struct image_topic *topic = NULL; (topic = image_topic_next(d->image, topic));) {
        struct topic_rules rules;
        bool has_rules = false;
        struct image_walk walk;
        image_partitions_begin(&walk, topic);
        for (const struct image_partition *p; (p = image_partitions_step(&walk));) {
            if (!is_swept(sweep, p)) continue;
            if (d->failed) return true;
            if (d->count - before >= DECIDE_SWEEP_MAX) return false;
            if (!has_rules) rules = topic_rules(d, topic);
            has_rules = true;
            struct partition_change change;
            partition_change_init(&change, d, topic, p, &rules, true);
            change.remove = sweep->remove;
            change.add = sweep->add;
            change.unclean = sweep->unclean;
            if (sweep->remove >= 0 || sweep->unclean >= 0) partition_change_shrink(&change, sweep->remove, sweep->unclean);
            struct partition_change_record record;
            if (partition_change_build(&change, &record)) partition_change_add(d, &record);
        }
    }
    return true;
}

uint32_t decide_balance_leaders(struct decide *d) {
    uint32_t before = d->count;
    for (const struct image_topic *topic = NULL; (topic = image_topic_next(d->image, topic));) {
        struct topic_rules rules = {0};
        bool has_rules = false;
        struct image_walk walk;
        image_partitions_begin(&walk, topic);
        for (const struct image_partition *p; (p = image_partitions_step(&walk));) {
            if (has_preferred_leader(p)) continue;
            if (d->failed || d->count - before >= DECIDE_ELECTIONS_MAX) return d->count - before;
            broker_id preferred = image_replicas(p).ids[0];
            if (!image_ids_contain(image_isr(p), preferred) || !image_broker_is_active(d->image, preferred)) continue;
            if (!has_rules) rules = topic_rules(d, topic);
            has_rules = true;
            struct partition_change change;
            partition_change_init(&change, d, topic, p, &rules, false);
            change.election = ELECT_PREFERRED;
            struct partition_change_record record;
            if (partition_change_build(&change, &record) && record.leader == preferred) partition_change_add(d, &record);
        }
    }
    return d->count - before;
}

uint32_t decide_elect_unclean(struct decide *d) {
    uint32_t before = d->count;
    for (const struct image_topic *topic = NULL; (topic = image_topic_next(d->image, topic));) {
        struct topic_rules rules = {0};
        bool has_rules = false;
        struct image_walk walk;
        image_partitions_begin(&walk, topic);
        for (const struct image_partition *p; (p = image_partitions_step(&walk));) {
            if (p->leader >= 0) continue;
            if (d->failed || d->count - before >= DECIDE_ELECTIONS_MAX) return d->count - before;
            if (!has_rules) rules = topic_rules(d, topic);
            has_rules = true;
            if (!rules.unclean) break;
            struct partition_change change;
            partition_change_init(&change, d, topic, p, &rules, true);
            struct partition_change_record record;
            if (partition_change_build(&change, &record)) partition_change_add(d, &record);
        }
    }
    return d->count - before;
}
