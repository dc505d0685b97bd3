#include "controller/partition_change.h"
#include <string.h>

bool broker_list_contains(struct broker_list list, broker_id id) {
    return image_ids_contain((struct image_ids){list.ids, list.count}, id);
}

static bool same(struct broker_list list, struct image_ids ids) {
    return image_ids_equal((struct image_ids){list.ids, list.count}, ids);
}

struct broker_list broker_list_copy(struct decide *d, struct image_ids ids, uint32_t room) {
    struct broker_list list = {decide_alloc(d, ids.count + room, sizeof(broker_id)), ids.count};
    if (!list.ids) return (struct broker_list){NULL, 0};
    if (ids.count) memcpy(list.ids, ids.ids, ids.count * sizeof(broker_id));
    return list;
}

static void drop_from(struct broker_list *list, broker_id id) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->ids[i] != id) list->ids[kept++] = list->ids[i];
    list->count = kept;
}

struct topic_rules topic_rules(const struct decide *d, const struct image_topic *topic) {
    const struct config_key *isr_key = config_find(SCOPE_TOPIC, SPAN_LITERAL("min.insync.replicas"));
    const struct config_key *unclean_key = config_find(SCOPE_TOPIC, SPAN_LITERAL("unclean.leader.election.enable"));
    struct config_view view = decide_config(d);
    struct topic_rules rules = {1, false};
    int64_t isr_min;
    if (config_parse_integer(config_value(&view, isr_key, topic->name, NULL, NULL), &isr_min) && isr_min > 0)
        rules.isr_min = isr_min > INT32_MAX ? INT32_MAX : (uint32_t)isr_min;
    bool unclean;
    if (config_parse_boolean(config_value(&view, unclean_key, topic->name, NULL, NULL), &unclean)) rules.unclean = unclean;
    /* A topic with fewer replicas than its minimum would never be eligible: the factor of partition 0 is the bound. */
    const struct image_partition *first = image_partition(topic, 0);
    if (first && first->replicas && first->replicas < rules.isr_min) rules.isr_min = first->replicas;
    return rules;
}

void partition_change_init(struct partition_change *change, struct decide *d, const struct image_topic *topic,
                           const struct image_partition *was, const struct topic_rules *rules, bool by_rules) {
    *change = (struct partition_change){
        .d = d, .topic = topic, .was = was,
        .election = by_rules && rules->unclean ? ELECT_UNCLEAN : ELECT_ONLINE,
        .isr = broker_list_copy(d, image_isr(was), 1), .replicas = broker_list_copy(d, image_replicas(was), 0),
        .removing = broker_list_copy(d, image_removing(was), 0), .adding = broker_list_copy(d, image_adding(was), 0),
        .elr = broker_list_copy(d, image_elr(was), was->isr),
        .recovery = was->recovery, .isr_min = rules->isr_min, .elr_on = decide_elr_is_on(d),
        .remove = -1, .add = -1, .unclean = -1, .assign = -1,
    };
}

void partition_change_shrink(struct partition_change *change, broker_id one, broker_id other) {
    drop_from(&change->isr, one);
    drop_from(&change->isr, other);
}

/* Active, or about to be, and its directory online. */
static bool is_acceptable(const struct partition_change *c, broker_id id) {
    if (id < 0 || id == c->remove || id == c->unclean) return false;
    if (id != c->add && !image_broker_is_active(c->d->image, id)) return false;
    const struct image_broker *broker = image_broker(c->d->image, id);
    int32_t replica = image_replica_index(c->was, id);
    return broker && (replica < 0 || image_directory_is_online(broker, image_directory(c->was, (uint32_t)replica)));
}

static bool may_lead(const struct partition_change *c, broker_id id) {
    return (broker_list_contains(c->isr, id) || (c->isr.count == 0 && broker_list_contains(c->elr, id))) && is_acceptable(c, id);
}

/* Done when what is to stay is in sync: the ISR without those that go is not empty and has all that come; and when more go
 * than come, all that stay, so that the partition does not end up thinner than it was asked to be. */
static void complete_reassignment(struct partition_change *c) {
    if (c->removing.count == 0 && c->adding.count == 0) return;
    struct broker_list isr = broker_list_copy(c->d, (struct image_ids){c->isr.ids, c->isr.count}, 1);
    struct broker_list replicas = broker_list_copy(c->d, (struct image_ids){c->replicas.ids, c->replicas.count}, 0);
    if (c->d->failed) return;
    for (uint32_t i = 0; i < c->removing.count; i++) {
        drop_from(&isr, c->removing.ids[i]);
        drop_from(&replicas, c->removing.ids[i]);
    }
    if (isr.count == 0) return;
    for (uint32_t i = 0; i < c->adding.count; i++)
        if (!broker_list_contains(isr, c->adding.ids[i])) return;
    for (uint32_t i = 0; c->adding.count < c->removing.count && i < replicas.count; i++)
        if (!broker_list_contains(isr, replicas.ids[i])) return;
    c->isr = isr;
    c->replicas = replicas;
    c->removing.count = c->adding.count = 0;
}

/* Below the minimum, those that leave the ISR stay eligible: they have all that was committed. */
static void fill_elr(struct partition_change *c) {
    if (!c->elr_on) return;
    if (c->isr.count >= c->isr_min) {
        c->elr.count = 0;
        return;
    }
    struct image_ids before = image_isr(c->was);
    for (uint32_t i = 0; i < before.count; i++)
        if (!broker_list_contains(c->elr, before.ids[i])) c->elr.ids[c->elr.count++] = before.ids[i];
    for (uint32_t i = 0; i < c->isr.count; i++) drop_from(&c->elr, c->isr.ids[i]);
    drop_from(&c->elr, c->unclean);
}

/* The last leader of a partition that has lost everybody else: known by name when ISR and ELR are empty. */
static bool is_last_known_leader_back(const struct partition_change *c, broker_id *id) {
    struct image_ids last = image_last_known_elr(c->was);
    if (!c->elr_on || c->isr.count || c->elr.count || last.count != 1 || !is_acceptable(c, last.ids[0])) return false;
    *id = last.ids[0];
    return true;
}

struct elected { broker_id id; bool unclean; };

static struct elected elect(const struct partition_change *c) {
    broker_id leader = c->was->leader, last;
    if (c->election == ELECT_PREFERRED && c->replicas.count && may_lead(c, c->replicas.ids[0])) return (struct elected){c->replicas.ids[0], false};
    if (may_lead(c, leader)) return (struct elected){leader, false};
    for (uint32_t i = 0; i < c->replicas.count; i++)
        if (may_lead(c, c->replicas.ids[i])) return (struct elected){c->replicas.ids[i], false};
    if (is_last_known_leader_back(c, &last)) return (struct elected){last, true};
    for (uint32_t i = 0; c->election == ELECT_UNCLEAN && i < c->replicas.count; i++)
        if (is_acceptable(c, c->replicas.ids[i])) return (struct elected){c->replicas.ids[i], true};
    return (struct elected){-1, false};
}

static void set_isr(struct partition_change_record *r, struct broker_list isr) {
    r->isr = isr.ids;
    r->isr_count = (int32_t)isr.count;
}

static void run_election(struct partition_change *c, struct partition_change_record *r) {
    struct elected elected = elect(c);
    if (elected.id == c->was->leader) return;
    r->leader = elected.id;
    struct broker_list alone = broker_list_copy(c->d, (struct image_ids){&elected.id, 1}, 0);
    if (c->d->failed) return;
    if (elected.unclean) {
        set_isr(r, alone);
        if (c->was->recovery != LEADER_RECOVERING) r->leader_recovery_state = LEADER_RECOVERING;
    } else if (elected.id >= 0 && broker_list_contains(c->elr, elected.id)) {
        c->isr = alone;
        drop_from(&c->elr, elected.id);
    }
}

static void set_directories(struct partition_change *c, struct partition_change_record *r) {
    if (!mv_has_directories(decide_mv(c->d))) return;
    struct uuid *directories = decide_alloc(c->d, c->replicas.count, sizeof *directories);
    if (!directories) return;
    bool changed = c->replicas.count != c->was->replicas;
    for (uint32_t i = 0; i < c->replicas.count; i++) {
        int32_t before = image_replica_index(c->was, c->replicas.ids[i]);
        directories[i] = c->replicas.ids[i] == c->assign ? c->directory
                       : before >= 0 ? image_directory(c->was, (uint32_t)before)
                                     : decide_default_directory(c->d, c->replicas.ids[i]);
        if (!changed && !uuid_equal(directories[i], image_directory(c->was, i))) changed = true;
    }
    if (!changed) return;
    r->directories = directories;
    r->directories_count = (int32_t)c->replicas.count;
}

static bool lacks_any(struct image_ids of, const broker_id *ids, int32_t count) {
    for (uint32_t i = 0; i < of.count; i++)
        if (!image_ids_contain((struct image_ids){ids, (uint32_t)count}, of.ids[i])) return true;
    return false;
}

bool partition_change_build(struct partition_change *c, struct partition_change_record *r) {
    partition_change_record_init(r);
    r->topic_id = c->topic->id;
    r->partition_id = c->was->index;
    if (c->d->failed) return false;
    complete_reassignment(c);
    fill_elr(c);
    run_election(c, r);
    /* A replica that is no longer one must not go on with the old epoch. */
    if (r->leader == -2 && lacks_any(image_replicas(c->was), c->replicas.ids, (int32_t)c->replicas.count)) r->leader = c->was->leader;
    bool unclean = r->isr_count >= 0;
    if (unclean || !c->elr_on) c->elr.count = 0;
    if (!same(c->elr, image_elr(c->was))) {
        r->eligible_leader_replicas = c->elr.ids;
        r->eligible_leader_replicas_count = (int32_t)c->elr.count;
    }
    /* Without ELR the last member stays in the ISR though it is gone: it is the only one that has everything. */
    if (!unclean && (c->isr.count || c->elr_on) && !same(c->isr, image_isr(c->was))) set_isr(r, c->isr);
    if (mv_bumps_epoch_on_isr_shrink(decide_mv(c->d)) && r->leader == -2 && r->isr_count >= 0 && lacks_any(image_isr(c->was), r->isr, r->isr_count))
        r->leader = c->was->leader;
    struct image_ids last = image_last_known_elr(c->was);
    if (c->elr_on) {
        if (r->isr_count == 0 && c->was->leader >= 0 && (last.count != 1 || last.ids[0] != c->was->leader)) {
            struct broker_list known = broker_list_copy(c->d, (struct image_ids){&c->was->leader, 1}, 0);
            r->last_known_elr = known.ids;
            r->last_known_elr_count = (int32_t)known.count;
        } else if ((r->leader >= 0 || (c->was->leader != -1 && r->leader != -1)) && last.count > 0) {
            r->last_known_elr_count = 0;
        }
    }
    if (c->replicas.count) {
        set_directories(c, r);
        if (!same(c->replicas, image_replicas(c->was))) {
            r->replicas = c->replicas.ids;
            r->replicas_count = (int32_t)c->replicas.count;
        }
    }
    if (!same(c->removing, image_removing(c->was))) {
        r->removing_replicas = c->removing.ids;
        r->removing_replicas_count = (int32_t)c->removing.count;
    }
    if (!same(c->adding, image_adding(c->was))) {
        r->adding_replicas = c->adding.ids;
        r->adding_replicas_count = (int32_t)c->adding.count;
    }
    if (c->recovery != c->was->recovery) r->leader_recovery_state = c->recovery;
    if (c->d->failed) return false;
    return r->isr_count >= 0 || r->leader != -2 || r->replicas_count >= 0 || r->removing_replicas_count >= 0 || r->adding_replicas_count >= 0 ||
           r->leader_recovery_state != -1 || r->directories_count >= 0 || r->eligible_leader_replicas_count >= 0 || r->last_known_elr_count >= 0;
}

void partition_change_add(struct decide *d, const struct partition_change_record *record) {
    decide_record(d, &partition_change_record_message, metadata_level(decide_mv(d))->partition, record);
}
