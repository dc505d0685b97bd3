#include "base/hash.h"
#include "controller/decide.h"
#include "controller/place_replicas.h"
#include <string.h>

enum { CONFIG_BYTES_MAX = 32767 };

/* ---- what comes twice: a set of keys with how often each was seen */

struct seen { struct span key; uint32_t times; };
struct seen_set { struct seen *slots; uint32_t mask; };

static bool seen_init(struct decide *d, struct seen_set *set, size_t count) {
    uint32_t size = 16;
    while (size < count * 2) size *= 2;
    set->slots = decide_alloc(d, size, sizeof *set->slots);
    set->mask = size - 1;
    return set->slots != NULL;
}

/* How often the key was seen before. */
static struct seen *seen_find(struct seen_set *set, struct span key) {
    uint32_t at = (uint32_t)hash_bytes(key.data, key.size) & set->mask;
    while (set->slots[at].times && !span_equal(set->slots[at].key, key)) at = (at + 1) & set->mask;
    set->slots[at].key = key;
    return &set->slots[at];
}

static struct span uuid_span(const struct uuid *id) {
    return (struct span){id->bytes, sizeof id->bytes};
}

/* ---- names */

static bool starts_with(struct span text, struct span prefix) {
    return text.size >= prefix.size && (prefix.size == 0 || memcmp(text.data, prefix.data, prefix.size) == 0);
}

/* A topic whose name differs only in '.' for '_': metrics could not tell them apart. Tries both signs at each place, as
 * long as there are topics that begin so. */
static const struct image_topic *colliding(const struct image *image, char *name, size_t size, size_t from) {
    while (from < size && name[from] != '.' && name[from] != '_') from++;
    struct span whole = {(const uint8_t *)name, size};
    if (from == size) return image_topic(image, whole);
    const struct image_topic *found = NULL;
    char own = name[from];
    for (int i = 0; i < 2 && !found; i++) {
        name[from] = i ? '_' : '.';
        struct span prefix = {(const uint8_t *)name, from + 1};
        const struct image_topic *first = image_topic_from(image, prefix);
        if (first && starts_with(first->name, prefix)) found = colliding(image, name, size, from + 1);
    }
    name[from] = own;
    return found;
}

/* ---- replicas that somebody gave */

struct span decide_check_assignment(struct decide *d, struct image_ids replicas, int32_t factor) {
    if (replicas.count == 0) return SPAN_LITERAL("The manual partition assignment includes an empty replica list.");
    if (replicas.count > image_broker_count(d->image) && replicas.count > INT16_MAX) return SPAN_LITERAL("the assignment has more replicas than there are brokers");
    for (uint32_t i = 0; i < replicas.count; i++) {
        const struct image_broker *broker = image_broker(d->image, replicas.ids[i]);
        if (!broker) return decide_text(d, "The manual partition assignment includes broker %d, but no such broker is registered.", replicas.ids[i]);
        if (decide_is_cordoned(broker)) return decide_text(d, "the assignment names broker %d, all of whose log directories are cordoned", replicas.ids[i]);
        for (uint32_t k = 0; k < i; k++)
            if (replicas.ids[k] == replicas.ids[i]) return decide_text(d, "The manual partition assignment includes the broker %d more than once.", replicas.ids[i]);
    }
    if (factor >= 0 && replicas.count != (uint32_t)factor)
        return decide_text(d, "the assignment has a partition of %u replicas where the others have %d", replicas.count, factor);
    return (struct span){0};
}

/* The record of a new partition; false: no replica of it is active. */
static bool new_partition(struct decide *d, struct uuid topic_id, int32_t index, struct image_ids replicas) {
    struct partition_record r;
    partition_record_init(&r);
    int16_t version = metadata_level(decide_mv(d))->partition;
    r.topic_id = topic_id;
    r.partition_id = index;
    r.replicas = decide_alloc(d, replicas.count, sizeof(int32_t));
    r.isr = decide_alloc(d, replicas.count, sizeof(int32_t));
    r.directories = decide_alloc(d, replicas.count, sizeof(struct uuid));
    if (d->failed) return true;
    r.replicas_count = (int32_t)replicas.count;
    for (uint32_t i = 0; i < replicas.count; i++) {
        r.replicas[i] = replicas.ids[i];
        r.directories[i] = decide_default_directory(d, replicas.ids[i]);
        if (image_broker_is_active(d->image, replicas.ids[i])) r.isr[r.isr_count++] = replicas.ids[i];
    }
    if (r.isr_count == 0) return false;
    if (version >= 1) r.directories_count = r.replicas_count;
    r.leader = r.isr[0];
    r.leader_epoch = r.partition_epoch = 0;
    decide_record(d, &partition_record_message, version, &r);
    return true;
}

static struct placer *placer_of_cluster(struct decide *d) {
    struct place_broker *brokers = decide_alloc(d, image_broker_count(d->image), sizeof *brokers);
    if (!brokers) return NULL;
    uint32_t count = 0;
    for (const struct image_broker *b = NULL; (b = image_broker_next(d->image, b));)
        if (decide_is_usable(d, b)) brokers[count++] = (struct place_broker){b->id, b->has_rack ? b->rack : (struct span){0}, b->fenced};
    struct placer *placer = placer_new(d->arena, brokers, count, d->random);
    if (!placer) d->failed = true;
    return placer;
}

struct refusal { enum kafka_error error; struct span message; };
#define REFUSAL(error_, message_) ((struct refusal){error_, message_})
#define FINE ((struct refusal){KAFKA_NONE, {0}})

/* `count` new partitions from index `first` on, wherever there is room. */
static struct refusal place_partitions(struct decide *d, struct uuid topic_id, int32_t first, int32_t count, int32_t factor) {
    struct placer *placer = placer_of_cluster(d);
    broker_id *replicas = decide_alloc(d, (size_t)factor, sizeof *replicas);
    if (d->failed) return FINE;
    if (placer_unfenced(placer) == 0) return REFUSAL(KAFKA_INVALID_REPLICATION_FACTOR, SPAN_LITERAL("all brokers are fenced or shutting down"));
    if ((uint32_t)factor > placer_total(placer))
        return REFUSAL(KAFKA_INVALID_REPLICATION_FACTOR,
                       decide_text(d, "Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %u broker(s) are registered or some brokers have all their log directories cordoned.",
                                   factor, factor, placer_total(placer)));
    for (int32_t i = 0; i < count && !d->failed; i++) {
        placer_next(placer, (uint32_t)factor, replicas);
        if (!new_partition(d, topic_id, first + i, (struct image_ids){replicas, (uint32_t)factor}))
            return REFUSAL(KAFKA_INVALID_REPLICATION_FACTOR, SPAN_LITERAL("all brokers are fenced or shutting down"));
    }
    return FINE;
}

/* ---- CreateTopics */

struct wish { /* one topic of a request */
    const struct create_topics_request_creatable_topic *in;
    struct create_topics_response_creatable_topic_result *out;
    struct config_values configs;
    int32_t partitions, factor;
};

static struct refusal read_configs(struct decide *d, struct wish *wish) {
    config_values_init(&wish->configs, d->arena);
    for (int32_t i = 0; i < wish->in->configs_count; i++) {
        const struct create_topics_request_creatable_topic_config *config = &wish->in->configs[i];
        if (!config->value.data) return REFUSAL(KAFKA_INVALID_CONFIG, decide_text(d, "Null value not supported for topic configs: %.*s", SPAN_ARGS(config->name)));
        if (config->value.size > CONFIG_BYTES_MAX)
            return REFUSAL(KAFKA_INVALID_CONFIG, decide_text(d, "%.*s: a value has at most %d bytes", SPAN_ARGS(config->name), CONFIG_BYTES_MAX));
        if (config_values_set(&wish->configs, config->name, config->value) != ERR_NONE) d->failed = true;
        if (d->failed) return FINE;
    }
    struct span why = decide_check_topic_configs(d, &wish->configs);
    return why.data ? REFUSAL(KAFKA_INVALID_CONFIG, why) : FINE;
}

/* The lists that were given must be those of partitions 0, 1, 2, ... They are written in that order. */
static struct refusal assigned_partitions(struct decide *d, struct wish *wish, struct uuid topic_id) {
    const struct create_topics_request_creatable_topic *in = wish->in;
    if (in->replication_factor != -1)
        return REFUSAL(KAFKA_INVALID_REQUEST, SPAN_LITERAL("A manual partition assignment was specified, but replication factor was not set to -1."));
    if (in->num_partitions != -1) return REFUSAL(KAFKA_INVALID_REQUEST, SPAN_LITERAL("A manual partition assignment was specified, but numPartitions was not set to -1."));
    int32_t count = in->assignments_count, factor = -1;
    const struct create_topics_request_creatable_replica_assignment **by_index = decide_alloc(d, (size_t)count, sizeof(void *));
    if (!by_index) return FINE;
    for (int32_t i = 0; i < count; i++) {
        const struct create_topics_request_creatable_replica_assignment *one = &in->assignments[i];
        if (one->partition_index < 0 || one->partition_index >= count)
            return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, SPAN_LITERAL("partitions should be a consecutive 0-based integer sequence"));
        if (by_index[one->partition_index])
            return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, decide_text(d, "Found multiple manual partition assignments for partition %d", one->partition_index));
        by_index[one->partition_index] = one;
        struct span why = decide_check_assignment(d, (struct image_ids){one->broker_ids, (uint32_t)one->broker_ids_count}, factor);
        if (why.data) return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, why);
        factor = one->broker_ids_count;
    }
    for (int32_t i = 0; i < count && !d->failed; i++)
        if (!new_partition(d, topic_id, i, (struct image_ids){by_index[i]->broker_ids, (uint32_t)by_index[i]->broker_ids_count}))
            return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, decide_text(d, "all brokers assigned to partition %d are fenced or shutting down", i));
    wish->partitions = count;
    wish->factor = factor;
    return FINE;
}

static int32_t wanted_partitions(const struct decide *d, const struct create_topics_request_creatable_topic *in) {
    if (in->assignments_count > 0) return in->assignments_count;
    struct config_view view = decide_config(d);
    return in->num_partitions == -1 ? (int32_t)config_number(&view, KEY_num_partitions) : in->num_partitions;
}

static struct refusal new_partitions(struct decide *d, struct wish *wish, struct uuid topic_id) {
    const struct create_topics_request_creatable_topic *in = wish->in;
    if (in->assignments_count > 0) return assigned_partitions(d, wish, topic_id);
    if (in->replication_factor < -1 || in->replication_factor == 0)
        return REFUSAL(KAFKA_INVALID_REPLICATION_FACTOR, SPAN_LITERAL("Replication factor must be larger than 0, or -1 to use the default value."));
    if (in->num_partitions < -1 || in->num_partitions == 0)
        return REFUSAL(KAFKA_INVALID_PARTITIONS, SPAN_LITERAL("Number of partitions was set to an invalid non-positive value."));
    struct config_view view = decide_config(d);
    wish->partitions = wanted_partitions(d, in);
    wish->factor = in->replication_factor == -1 ? (int32_t)config_number(&view, KEY_default_replication_factor) : in->replication_factor;
    return place_partitions(d, topic_id, 0, wish->partitions, wish->factor);
}

/* What will hold for the topic, as the client is told. */
static void tell_configs(struct decide *d, struct wish *wish) {
    struct config_view view = decide_config(d);
    uint32_t count = 0;
    for (const struct config_key *key = NULL; (key = config_next(SCOPE_TOPIC, key));) count++;
    wish->out->configs = decide_answer_alloc(d, count, sizeof *wish->out->configs);
    if (!wish->out->configs) return;
    for (const struct config_key *key = NULL; (key = config_next(SCOPE_TOPIC, key));) {
        if (key->internal) continue;
        struct create_topics_response_creatable_topic_configs *to = &wish->out->configs[wish->out->configs_count++];
        create_topics_response_creatable_topic_configs_init(to);
        enum config_source source = SOURCE_TOPIC;
        to->name = span_text(key->name);
        if (!config_values_get(&wish->configs, to->name, &to->value)) to->value = config_value(&view, key, (struct span){0}, &source, d->answer);
        else if (to->value.size) to->value.data = arena_copy(d->answer, to->value.data, to->value.size);
        if (to->value.size && !to->value.data) d->failed = true;
        to->config_source = (int8_t)source;
        to->is_sensitive = config_is_sensitive(SCOPE_TOPIC, key);
    }
}

static struct refusal create_one(struct decide *d, struct wish *wish) {
    struct span name = wish->in->name;
    if (image_topic(d->image, name)) return REFUSAL(KAFKA_TOPIC_ALREADY_EXISTS, decide_text(d, "Topic '%.*s' already exists.", SPAN_ARGS(name)));
    struct span why = decide_check_topic_name(d, name);
    if (why.data) return REFUSAL(KAFKA_INVALID_TOPIC_EXCEPTION, why);
    char copy[TOPIC_NAME_BYTES_MAX];
    memcpy(copy, name.data, name.size);
    const struct image_topic *other = colliding(d->image, copy, name.size, 0);
    if (other)
        return REFUSAL(KAFKA_INVALID_TOPIC_EXCEPTION, decide_text(d, "Topic '%.*s' collides with existing topic: %.*s", SPAN_ARGS(name), SPAN_ARGS(other->name)));
    struct refusal refusal = read_configs(d, wish);
    if (refusal.error || d->failed) return refusal;
    struct topic_record topic = {.name = name};
    do topic.topic_id = uuid_random(d->random);
    while (image_topic_by_id(d->image, topic.topic_id));
    decide_record(d, &topic_record_message, 0, &topic);
    for (uint32_t i = 0; i < wish->configs.count; i++) {
        struct config_record config = {.resource_type = CONFIG_TOPIC, .resource_name = name, .name = wish->configs.entries[i].name,
                                       .value = wish->configs.entries[i].value};
        decide_record(d, &config_record_message, 0, &config);
    }
    struct span own_minimum;
    if (decide_elr_is_on(d) && config_values_get(&wish->configs, SPAN_LITERAL("min.insync.replicas"), &own_minimum)) {
        struct clear_elr_record clear = {.topic_name = name}; /* as with every change of that config */
        decide_record(d, &clear_elr_record_message, 0, &clear);
    }
    refusal = new_partitions(d, wish, topic.topic_id);
    if (refusal.error || d->failed) return refusal;
    wish->out->topic_id = topic.topic_id;
    wish->out->num_partitions = wish->partitions;
    wish->out->replication_factor = (int16_t)wish->factor;
    tell_configs(d, wish);
    return FINE;
}

static void refuse_topic(struct create_topics_response_creatable_topic_result *out, struct span name, struct refusal refusal) {
    create_topics_response_creatable_topic_result_init(out);
    out->name = name;
    out->error_code = (int16_t)refusal.error;
    out->error_message = refusal.message;
}

/* Too many for one atomic batch: nothing of the request is done. */
static void refuse_all_topics(struct decide *d, const struct create_topics_request *in, struct create_topics_response *out, struct span why) {
    decide_undo(d, 0);
    out->topics_count = in->topics_count;
    for (int32_t i = 0; i < in->topics_count; i++) refuse_topic(&out->topics[i], in->topics[i].name, REFUSAL(KAFKA_POLICY_VIOLATION, why));
}

void decide_create_topics(struct decide *d, int16_t version, const struct create_topics_request *in, struct create_topics_response *out) {
    (void)version;
    out->topics = decide_answer_alloc(d, (size_t)in->topics_count, sizeof *out->topics);
    struct seen_set names;
    if (!out->topics || !seen_init(d, &names, (size_t)in->topics_count)) return;
    int64_t partitions = 0;
    for (int32_t i = 0; i < in->topics_count; i++) {
        seen_find(&names, in->topics[i].name)->times++;
        int32_t wanted = wanted_partitions(d, &in->topics[i]);
        if (wanted > 0) partitions += wanted;
    }
    if (partitions > DECIDE_RECORDS_MAX) {
        refuse_all_topics(d, in, out, SPAN_LITERAL("Excessively large number of partitions per request."));
        return;
    }
    for (int32_t i = 0; i < in->topics_count && !d->failed; i++) {
        struct wish wish = {.in = &in->topics[i], .out = &out->topics[out->topics_count]};
        if (seen_find(&names, wish.in->name)->times != 1 || span_equal(wish.in->name, SPAN_LITERAL("__cluster_metadata"))) continue;
        refuse_topic(wish.out, wish.in->name, FINE);
        uint32_t before = d->count;
        struct refusal refusal = create_one(d, &wish);
        if (refusal.error) {
            decide_undo(d, before);
            refuse_topic(wish.out, wish.in->name, refusal);
        }
        out->topics_count++;
    }
    for (int32_t i = 0; i < in->topics_count; i++) { /* those that were left out, once each */
        struct seen *seen = seen_find(&names, in->topics[i].name);
        bool twice = seen->times > 1, prohibited = span_equal(in->topics[i].name, SPAN_LITERAL("__cluster_metadata"));
        if (seen->times == UINT32_MAX || (!twice && !prohibited)) continue;
        seen->times = UINT32_MAX;
        refuse_topic(&out->topics[out->topics_count++], in->topics[i].name,
                     REFUSAL(KAFKA_INVALID_REQUEST, twice ? SPAN_LITERAL("Duplicate topic name.")
                                                          : SPAN_LITERAL("Creation of internal topic __cluster_metadata is prohibited.")));
    }
    if (d->count > DECIDE_RECORDS_MAX) refuse_all_topics(d, in, out, SPAN_LITERAL("the request is too large to be done at once"));
    if (in->validate_only) decide_undo(d, 0);
}

/* ---- DeleteTopics */

static void tell_deleted(struct delete_topics_response *out, struct span name, struct uuid id, enum kafka_error error, struct span message) {
    struct delete_topics_response_deletable_topic_result *to = &out->responses[out->responses_count++];
    delete_topics_response_deletable_topic_result_init(to);
    to->name = name;
    to->topic_id = id;
    to->error_code = (int16_t)error;
    to->error_message = message;
}

enum kafka_error decide_delete_topics(struct decide *d, int16_t version, const struct delete_topics_request *in, struct delete_topics_response *out) {
    struct config_view view = decide_config(d);
    if (!config_flag(&view, KEY_delete_topic_enable)) return version < 3 ? KAFKA_INVALID_REQUEST : KAFKA_TOPIC_DELETION_DISABLED;
    int32_t count = version >= 6 ? in->topics_count : in->topic_names_count;
    out->responses = decide_answer_alloc(d, (size_t)count, sizeof *out->responses);
    struct seen_set names, ids;
    if (!out->responses || !seen_init(d, &names, (size_t)count) || !seen_init(d, &ids, (size_t)count)) return KAFKA_NONE;
    const struct uuid none = {{0}};
    for (int32_t i = 0; i < count; i++) {
        struct span name = version >= 6 ? in->topics[i].name : in->topic_names[i];
        bool has_id = version >= 6 && !uuid_is_zero(in->topics[i].topic_id);
        if (name.data && !has_id) seen_find(&names, name)->times++;
        if (!name.data && has_id) seen_find(&ids, uuid_span(&in->topics[i].topic_id))->times++;
    }
    for (int32_t i = 0; i < count && !d->failed; i++) {
        struct span name = version >= 6 ? in->topics[i].name : in->topic_names[i];
        const struct uuid *id = version >= 6 ? &in->topics[i].topic_id : &none;
        bool has_id = !uuid_is_zero(*id);
        if (!name.data && !has_id) {
            tell_deleted(out, name, none, KAFKA_INVALID_REQUEST, SPAN_LITERAL("Neither topic name nor id were specified."));
            continue;
        }
        if (name.data && has_id) {
            tell_deleted(out, name, *id, KAFKA_INVALID_REQUEST, SPAN_LITERAL("You may not specify both topic name and topic id."));
            continue;
        }
        struct seen *seen = has_id ? seen_find(&ids, uuid_span(id)) : seen_find(&names, name);
        if (seen->times == UINT32_MAX) continue; /* told already */
        if (seen->times > 1) {
            seen->times = UINT32_MAX;
            tell_deleted(out, name, *id, KAFKA_INVALID_REQUEST, has_id ? SPAN_LITERAL("Duplicate topic id.") : SPAN_LITERAL("Duplicate topic name."));
            continue;
        }
        const struct image_topic *topic = has_id ? image_topic_by_id(d->image, *id) : image_topic(d->image, name);
        if (!topic) {
            tell_deleted(out, name, *id, has_id ? KAFKA_UNKNOWN_TOPIC_ID : KAFKA_UNKNOWN_TOPIC_OR_PARTITION,
                         has_id ? SPAN_LITERAL("This server does not host this topic ID.") : SPAN_LITERAL("This server does not host this topic-partition."));
            continue;
        }
        /* By its name and by its id: neither counts, and the name is told. */
        if (has_id && seen_find(&names, topic->name)->times == 1) continue;
        if (!has_id && seen_find(&ids, uuid_span(&topic->id))->times > 0) {
            tell_deleted(out, name, topic->id, KAFKA_INVALID_REQUEST, SPAN_LITERAL("The provided topic name maps to an ID that was already supplied."));
            continue;
        }
        struct remove_topic_record r = {.topic_id = topic->id};
        decide_record(d, &remove_topic_record_message, 0, &r);
        /* The answer outlives the topic. */
        tell_deleted(out, decide_text(d, "%.*s", SPAN_ARGS(topic->name)), topic->id, KAFKA_NONE, (struct span){0});
    }
    /* In no order that would tell absent topics from hidden ones. */
    for (int32_t i = out->responses_count - 1; i > 0; i--) {
        uint64_t other = random_below(d->random, (uint64_t)i + 1);
        struct delete_topics_response_deletable_topic_result moved = out->responses[i];
        out->responses[i] = out->responses[other];
        out->responses[other] = moved;
    }
    if (d->count > DECIDE_RECORDS_MAX) {
        decide_undo(d, 0);
        return KAFKA_POLICY_VIOLATION;
    }
    return KAFKA_NONE;
}

/* ---- CreatePartitions */

static struct refusal add_partitions(struct decide *d, const struct create_partitions_request_create_partitions_topic *in) {
    const struct image_topic *topic = image_topic(d->image, in->name);
    if (!topic) return REFUSAL(KAFKA_UNKNOWN_TOPIC_OR_PARTITION, ((struct span){0}));
    int32_t have = (int32_t)topic->partition_count;
    if (in->count == have) return REFUSAL(KAFKA_INVALID_PARTITIONS, decide_text(d, "Topic already has %d partition(s).", have));
    if (in->count < have) return REFUSAL(KAFKA_INVALID_PARTITIONS, decide_text(d, "The topic %.*s currently has %d partition(s); %d would not be an increase.", SPAN_ARGS(in->name), have, in->count));
    int32_t added = in->count - have;
    if (in->assignments_count >= 0 && in->assignments_count != added)
        return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, decide_text(d, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", added, in->assignments_count));
    const struct image_partition *first = image_partition_next(topic, NULL);
    if (!first) return REFUSAL(KAFKA_UNKNOWN_SERVER_ERROR, SPAN_LITERAL("the topic has no partition whose replication factor could be taken"));
    if (in->assignments_count < 0) return place_partitions(d, topic->id, have, added, first->replicas);
    for (int32_t i = 0; i < added && !d->failed; i++) {
        struct image_ids replicas = {in->assignments[i].broker_ids, (uint32_t)in->assignments[i].broker_ids_count};
        struct span why = decide_check_assignment(d, replicas, first->replicas);
        if (why.data) return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, why);
        if (!new_partition(d, topic->id, have + i, replicas))
            return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, decide_text(d, "all brokers assigned to partition %d are fenced or shutting down", have + i));
    }
    return FINE;
}

static void tell_added(struct create_partitions_response *out, struct span name, struct refusal refusal) {
    struct create_partitions_response_create_partitions_topic_result *to = &out->results[out->results_count++];
    create_partitions_response_create_partitions_topic_result_init(to);
    to->name = name;
    to->error_code = (int16_t)refusal.error;
    to->error_message = refusal.message;
}

void decide_create_partitions(struct decide *d, const struct create_partitions_request *in, struct create_partitions_response *out) {
    out->results = decide_answer_alloc(d, (size_t)in->topics_count, sizeof *out->results);
    struct seen_set names;
    if (!out->results || !seen_init(d, &names, (size_t)in->topics_count)) return;
    int64_t added = 0;
    for (int32_t i = 0; i < in->topics_count; i++) {
        struct seen *seen = seen_find(&names, in->topics[i].name);
        const struct image_topic *topic = image_topic(d->image, in->topics[i].name);
        if (seen->times++ == 0 && topic && in->topics[i].count > (int32_t)topic->partition_count) added += in->topics[i].count - (int32_t)topic->partition_count;
    }
    struct refusal too_many = REFUSAL(KAFKA_POLICY_VIOLATION, SPAN_LITERAL("Excessively large number of additional partitions per request."));
    for (int32_t i = 0; i < in->topics_count && !d->failed; i++) {
        struct seen *seen = seen_find(&names, in->topics[i].name);
        if (seen->times == UINT32_MAX) continue;
        uint32_t before = d->count;
        struct refusal refusal = seen->times > 1 ? REFUSAL(KAFKA_INVALID_REQUEST, SPAN_LITERAL("Duplicate topic name."))
                               : added > DECIDE_RECORDS_MAX ? too_many : add_partitions(d, &in->topics[i]);
        seen->times = UINT32_MAX;
        if (refusal.error) decide_undo(d, before);
        tell_added(out, in->topics[i].name, refusal);
    }
    if (in->validate_only) decide_undo(d, 0);
}
