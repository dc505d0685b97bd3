#include "meta/config_change.h"
#include "wire/trace.h"
#include <string.h>

/* As Java splits: at each comma, the empty items at the end left out, but "" is one empty item; spaces stay. */
static bool next_part(struct span *rest, struct span *part) {
    if (!rest->data) return false;
    const uint8_t *comma = rest->size ? memchr(rest->data, ',', rest->size) : NULL;
    *part = (struct span){rest->data, comma ? (size_t)(comma - rest->data) : rest->size};
    *rest = comma ? (struct span){comma + 1, rest->size - part->size - 1} : (struct span){0};
    return true;
}

static struct span without_empty_end(struct span list) {
    size_t size = list.size;
    while (size > 0 && list.data[size - 1] == ',') size--;
    return size == 0 && list.size > 0 ? (struct span){0} : (struct span){list.data, size};
}

static bool has_part(struct span list, struct span part) {
    for (struct span one; next_part(&list, &one);)
        if (span_equal(one, part)) return true;
    return false;
}

struct span config_list_edit(struct arena *arena, struct span list, struct span items, bool adds) {
    uint8_t *text = arena_alloc(arena, list.size + items.size + 2);
    if (!text) return (struct span){0};
    size_t size = 0;
    bool any = false;
    items = without_empty_end(items);
    for (struct span rest = list, one; next_part(&rest, &one);) {
        if (one.size == 0 || (!adds && has_part(items, one))) continue;
        if (any) text[size++] = ',';
        memcpy(text + size, one.data, one.size);
        size += one.size;
        any = true;
    }
    for (struct span rest = items, one; adds && next_part(&rest, &one);) {
        if (any && has_part((struct span){text, size}, one)) continue;
        if (any) text[size++] = ',';
        if (one.size) memcpy(text + size, one.data, one.size);
        size += one.size;
        any = true;
    }
    return (struct span){text, size};
}

struct span config_base_name(struct span name) {
    struct span prefix = SPAN_LITERAL("listener.name.");
    if (name.size <= prefix.size || memcmp(name.data, prefix.data, prefix.size) != 0) return name;
    struct span rest = {name.data + prefix.size, name.size - prefix.size};
    const uint8_t *dot = memchr(rest.data, '.', rest.size);
    if (!dot || dot == rest.data) return name;
    return (struct span){dot + 1, rest.size - (size_t)(dot + 1 - rest.data)};
}

bool config_is_open(struct span name) {
    static const enum config_scope scopes[] = {SCOPE_BROKER, SCOPE_TOPIC, SCOPE_GROUP, SCOPE_CLIENT_METRICS};
    bool is_known = false;
    for (size_t i = 0; i < countof(scopes); i++) {
        const struct config_key *key = config_find(scopes[i], scopes[i] == SCOPE_BROKER ? config_base_name(name) : name);
        if (key && config_is_sensitive(scopes[i], key)) return false;
        is_known |= key != NULL;
    }
    return is_known;
}

/* ---- what a running broker can take */

/* Keys and certificates belong to a listener, and are changed by its name only. */
static bool wants_listener(const struct config_key *key) {
    static const char *const prefixes[] = {"ssl.key.", "ssl.keystore.", "ssl.truststore."};
    for (size_t i = 0; i < countof(prefixes); i++)
        if (strncmp(key->name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}

/* Kafka's pools of threads grow and shrink by at most half at a time: tools and runbooks count on the refusal. */
static bool is_pool_size(const struct config_key *key) {
    static const enum config_id pools[] = {KEY_num_io_threads, KEY_num_network_threads, KEY_num_replica_fetchers,
                                           KEY_num_recovery_threads_per_data_dir, KEY_background_threads, KEY_log_cleaner_threads,
                                           KEY_remote_log_manager_copier_thread_pool_size, KEY_remote_log_manager_expiration_thread_pool_size,
                                           KEY_remote_log_manager_follower_thread_pool_size, KEY_remote_log_reader_threads};
    for (size_t i = 0; i < countof(pools); i++)
        if (key == config_key(pools[i])) return true;
    return false;
}

/* Quotas of replication are documented as a broker's own, and taken for all. */
bool config_is_for_one_broker(const struct config_key *key) {
    return key->mode == CONFIG_PER_BROKER && key != config_key(KEY_follower_replication_throttled_rate) &&
           key != config_key(KEY_leader_replication_throttled_rate) && key != config_key(KEY_replica_alter_log_dirs_io_max_bytes_per_second);
}

bool config_check_trace(const struct config_key *key, struct span value, struct text *why) {
    uint64_t apis[WIRE_TRACE_KEYS_MAX / 64];
    bool is_list = key == config_key(KEY_moldau_trace_addresses) || key == config_key(KEY_moldau_trace_apis) || key == config_key(KEY_moldau_trace_clients);
    if (is_list && value.size > TRACE_LIST_BYTES_MAX) {
        text_add(why, "%s: longer than %d bytes", key->name, TRACE_LIST_BYTES_MAX);
        return false;
    }
    if (key != config_key(KEY_moldau_trace_apis)) return true;
    char wrong_bytes[256];
    struct text wrong;
    text_init(&wrong, wrong_bytes, sizeof wrong_bytes);
    if (wire_trace_apis(value, apis, &wrong)) return true;
    text_add(why, "%s: %s", key->name, wrong_bytes);
    return false;
}

/* host:number, ...; a host is made of letters, digits and what addresses are made of. */
static bool are_overrides(struct span list) {
    for (struct span one; config_list_next(&list, &one);) {
        const uint8_t *colon = one.size ? memrchr(one.data, ':', one.size) : NULL;
        int64_t number;
        if (one.size == 0) continue; /* as in Kafka */
        if (!colon || colon == one.data || !config_parse_integer((struct span){colon + 1, one.size - (size_t)(colon + 1 - one.data)}, &number)) return false;
        for (const uint8_t *at = one.data; at < colon; at++) {
            bool is_letter = (*at | 32) >= 'a' && (*at | 32) <= 'z';
            if (!is_letter && !(*at >= '0' && *at <= '9') && !strchr(".:-_%[]", *at)) return false;
        }
    }
    return true;
}

/* What Kafka asks of a few keys besides their range. */
static bool check_alone(const struct config_key *key, struct span value, struct text *why) {
    int64_t number = -1;
    bool is_number = config_parse_integer(value, &number);
    if (!config_check_trace(key, value, why)) return false;
    if (key == config_key(KEY_max_connections_per_ip_overrides) && !are_overrides(value)) {
        text_add(why, "%s: a list of host:number is wanted", key->name);
        return false;
    }
    if ((key == config_key(KEY_max_connections) || key == config_key(KEY_max_connection_creation_rate)) && is_number && number <= 0) {
        text_add(why, "%s is %lld: without connections nobody could change it back", key->name, (long long)number);
        return false;
    }
    if (key->type == CONFIG_TYPE_LIST && key != config_key(KEY_config_providers) && config_list_repeats(value)) {
        text_add(why, "%s is \"%.*s\": nothing may be there twice", key->name, (int)(value.size < 128 ? value.size : 128), (const char *)value.data);
        return false;
    }
    return true;
}

/* Is the value one that the key may have, and that this process can change to? */
static bool check_value(const struct config_key *key, struct span value, struct text *why) {
    if (!config_validate(key, value, why)) return false;
    if (key == config_key(KEY_listeners) || key == config_key(KEY_listener_security_protocol_map)) {
        text_add(why, "%s cannot be changed at run time: change the file and start again", key->name);
        return false;
    }
    struct span rest = value, one;
    bool names_class = key->type == CONFIG_TYPE_CLASS ? value.size > 0 : key == config_key(KEY_metric_reporters) && config_list_next(&rest, &one);
    if (names_class && !span_equal(value, config_default(key))) {
        text_add(why, "%s: no class of the JVM can be loaded here", key->name);
        return false;
    }
    return check_alone(key, value, why);
}

static bool may_become(const struct config_view *before, const struct config_view *after, const struct config_key *key, struct text *why) {
    if (!is_pool_size(key)) return true;
    enum config_id id = (enum config_id)(key - config_key(0));
    int64_t now = config_number(before, id), then = config_number(after, id);
    if (now <= 0 || (then <= now * 2 && then >= now / 2)) return true;
    text_add(why, "%s is %lld now: at one time it can at most be doubled or halved, not become %lld", key->name, (long long)now, (long long)then);
    return false;
}

static bool is_edited(const struct config_view *after, enum config_id id) {
    struct span value;
    return config_values_get(after->edits, span_text(config_key(id)->name), &value);
}

static int64_t retention_ms(const struct config_view *view) {
    int64_t all = config_number(view, KEY_log_retention_ms), minutes = config_number(view, KEY_log_retention_minutes);
    if (all != INT64_MIN) return all;
    if (__builtin_mul_overflow(minutes != INT64_MIN ? minutes : config_number(view, KEY_log_retention_hours), minutes != INT64_MIN ? 60000 : 3600000, &all)) all = INT64_MAX;
    return all;
}

/* What is kept here of a tiered log is a part of all that is kept, and what waits to be copied a part of that. -2: all of it. */
static bool check_tiers(const struct config_view *after, struct text *why) {
    int64_t local = config_number(after, KEY_log_local_retention_ms), all = retention_ms(after), lag = config_number(after, KEY_log_remote_copy_lag_ms);
    bool has_edit = is_edited(after, KEY_log_local_retention_ms) || is_edited(after, KEY_log_retention_ms);
    if (has_edit && local != -2 && all >= 0 && (local < 0 || local > all)) {
        text_add(why, "log.local.retention.ms is %lld: it must not be above log.retention.ms, which is %lld", (long long)local, (long long)all);
        return false;
    }
    if (local == -2) local = all;
    if ((has_edit || is_edited(after, KEY_log_remote_copy_lag_ms)) && local >= 0 && lag > local) {
        text_add(why, "log.remote.copy.lag.ms is %lld: it must not be above what log.local.retention.ms says, %lld", (long long)lag, (long long)local);
        return false;
    }
    return true;
}

enum config_verdict config_check_broker(const struct config_view *view, bool for_one, const struct config_edit *edits, uint32_t count,
                                        struct arena *arena, struct text *why) {
    struct config_values values;
    struct config_view after = *view;
    config_values_init(&values, arena);
    after.edits = &values;
    after.edits_for_one = for_one;
    for (uint32_t i = 0; i < count; i++) {
        const struct config_edit *edit = &edits[i];
        if (edit->op == CONFIG_DELETE) continue; /* taking back is always possible */
        struct span base = config_base_name(edit->name);
        bool of_listener = base.size != edit->name.size;
        const struct config_key *key = config_find(SCOPE_BROKER, base);
        int shown = (int)(edit->name.size < 128 ? edit->name.size : 128);
        if ((edit->op == CONFIG_APPEND || edit->op == CONFIG_SUBTRACT) && (!key || key->type != CONFIG_TYPE_LIST)) {
            text_add(why, "%.*s is not a list", shown, (const char *)edit->name.data);
            return CONFIG_INVALID;
        }
        if (!key) continue; /* somebody's plug-in knows it */
        if (key->mode == CONFIG_READ_ONLY && !of_listener) {
            text_add(why, "%s cannot be changed at run time", key->name);
            return CONFIG_REFUSED;
        }
        if (wants_listener(key) && !of_listener) {
            text_add(why, "%s can only be changed for one listener, as listener.name.NAME.%s", key->name, key->name);
            return CONFIG_REFUSED;
        }
        if (!for_one && config_is_for_one_broker(key)) {
            text_add(why, "%s can only be set for a single broker", key->name);
            return CONFIG_REFUSED;
        }
        struct span value = edit->value;
        if (edit->op != CONFIG_SET) {
            char id[16];
            struct text text;
            text_init(&text, id, sizeof id);
            if (for_one) text_add(&text, "%d", view->broker);
            const struct image_config *set = view->image ? image_config(view->image, CONFIG_BROKER, span_of(id, text.size), edit->name) : NULL;
            value = config_list_edit(arena, set ? set->value : config_default(key), edit->value, edit->op == CONFIG_APPEND);
            if (!value.data) return CONFIG_NO_MEMORY;
        }
        if (!check_value(key, value, why)) return CONFIG_REFUSED;
        if (config_values_set(&values, span_text(key->name), value)) return CONFIG_NO_MEMORY;
        if (!may_become(view, &after, key, why)) return CONFIG_REFUSED;
    }
    if (values.count == 0) return CONFIG_FINE;
    return config_fits(&after, why) && check_tiers(&after, why) ? CONFIG_FINE : CONFIG_REFUSED;
}

/* ---- groups: what each may have lies between what the brokers allow */

struct bounds { const char *name; enum config_id low, high; };
#define NO_BOUND KEYS_COUNT
static const struct bounds group_bounds[] = {
    {"consumer.session.timeout.ms", KEY_group_consumer_min_session_timeout_ms, KEY_group_consumer_max_session_timeout_ms},
    {"consumer.heartbeat.interval.ms", KEY_group_consumer_min_heartbeat_interval_ms, KEY_group_consumer_max_heartbeat_interval_ms},
    {"consumer.assignment.interval.ms", KEY_group_consumer_min_assignment_interval_ms, KEY_group_consumer_max_assignment_interval_ms},
    {"share.session.timeout.ms", KEY_group_share_min_session_timeout_ms, KEY_group_share_max_session_timeout_ms},
    {"share.heartbeat.interval.ms", KEY_group_share_min_heartbeat_interval_ms, KEY_group_share_max_heartbeat_interval_ms},
    {"share.assignment.interval.ms", KEY_group_share_min_assignment_interval_ms, KEY_group_share_max_assignment_interval_ms},
    {"share.record.lock.duration.ms", KEY_group_share_min_record_lock_duration_ms, KEY_group_share_max_record_lock_duration_ms},
    {"share.partition.max.record.locks", KEY_group_share_min_partition_max_record_locks, KEY_group_share_max_partition_max_record_locks},
    {"share.delivery.count.limit", KEY_group_share_min_delivery_count_limit, KEY_group_share_max_delivery_count_limit},
    {"streams.session.timeout.ms", KEY_group_streams_min_session_timeout_ms, KEY_group_streams_max_session_timeout_ms},
    {"streams.heartbeat.interval.ms", KEY_group_streams_min_heartbeat_interval_ms, KEY_group_streams_max_heartbeat_interval_ms},
    {"streams.assignment.interval.ms", KEY_group_streams_min_assignment_interval_ms, KEY_group_streams_max_assignment_interval_ms},
    {"streams.num.standby.replicas", NO_BOUND, KEY_group_streams_max_standby_replicas},
    {"streams.num.warmup.replicas", NO_BOUND, KEY_group_streams_max_warmup_replicas},
    {"streams.task.offset.interval.ms", KEY_group_streams_min_task_offset_interval_ms, NO_BOUND},
};

bool config_check_group(const struct config_view *view, const struct config_values *values, struct text *why) {
    struct span value;
    int64_t number;
    for (size_t i = 0; i < countof(group_bounds); i++) {
        const struct bounds *bounds = &group_bounds[i];
        if (!config_values_get(values, span_text(bounds->name), &value) || !config_parse_integer(value, &number)) continue;
        if (bounds->low != NO_BOUND && number < config_number(view, bounds->low)) {
            text_add(why, "%s is %lld: it must not be below %s, which is %lld", bounds->name, (long long)number, config_key(bounds->low)->name,
                     (long long)config_number(view, bounds->low));
            return false;
        }
        if (bounds->high != NO_BOUND && number > config_number(view, bounds->high)) {
            text_add(why, "%s is %lld: it must not be above %s, which is %lld", bounds->name, (long long)number, config_key(bounds->high)->name,
                     (long long)config_number(view, bounds->high));
            return false;
        }
    }
    if (config_values_get(values, SPAN_LITERAL("streams.assignor.name"), &value) && !config_list_contains(config_text(view, KEY_group_streams_assignors, NULL), value)) {
        text_add(why, "streams.assignor.name: %.*s is not one of group.streams.assignors", (int)(value.size < 128 ? value.size : 128), (const char *)value.data);
        return false;
    }
    if (config_values_get(values, SPAN_LITERAL("streams.rack.aware.assignment.tags"), &value) && config_list_repeats(value)) {
        text_add(why, "streams.rack.aware.assignment.tags: a tag is there twice");
        return false;
    }
    if (config_values_get(values, SPAN_LITERAL("errors.deadletterqueue.topic.name"), &value) && value.size >= 2 && memcmp(value.data, "__", 2) == 0) {
        text_add(why, "errors.deadletterqueue.topic.name: internal topics take no rejected records");
        return false;
    }
    return true;
}

/* ---- subscriptions of client metrics */

/* Brackets close, nothing is repeated that is not there, no escape ends the text. */
static bool is_pattern(struct span text) {
    uint32_t depth = 0;
    bool in_class = false, has_atom = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '\\') {
            if (++i == text.size) return false;
            has_atom = true;
        } else if (in_class) {
            if (c == ']') in_class = false;
        } else if (c == '[') {
            in_class = has_atom = true;
        } else if (c == '(') {
            depth++;
            has_atom = i + 1 < text.size && text.data[i + 1] == '?';
        } else if (c == ')') {
            if (depth-- == 0) return false;
            has_atom = true;
        } else if ((c == '*' || c == '+' || c == '?') && !has_atom) {
            return false;
        } else {
            has_atom = c != '|' && c != '^';
        }
    }
    return depth == 0 && !in_class;
}

enum config_verdict config_check_client_metrics(const struct config_values *values, struct text *why) {
    static const char attributes[] = "client_instance_id,client_id,client_software_name,client_software_version,client_source_address,client_source_port";
    enum { INTERVAL_MS_MIN = 100, INTERVAL_MS_MAX = 3600000 };
    struct span value;
    int64_t interval;
    if (config_values_get(values, SPAN_LITERAL("interval.ms"), &value) && config_parse_integer(value, &interval) &&
        (interval < INTERVAL_MS_MIN || interval > INTERVAL_MS_MAX)) {
        text_add(why, "interval.ms is %lld: allowed are numbers from %d to %d", (long long)interval, INTERVAL_MS_MIN, INTERVAL_MS_MAX);
        return CONFIG_REFUSED;
    }
    if (!config_values_get(values, SPAN_LITERAL("match"), &value)) return CONFIG_FINE;
    for (struct span one; config_list_next(&value, &one);) {
        const uint8_t *equals = one.size ? memchr(one.data, '=', one.size) : NULL;
        struct span name = {one.data, equals ? (size_t)(equals - one.data) : 0};
        while (name.size && name.data[name.size - 1] == ' ') name.size--;
        if (equals && config_list_contains(span_text(attributes), name) &&
            is_pattern((struct span){equals + 1, one.size - (size_t)(equals + 1 - one.data)}))
            continue;
        text_add(why, "match: \"%.*s\" is not an attribute of clients, '=' and a pattern", (int)(one.size < 128 ? one.size : 128), (const char *)one.data);
        return CONFIG_INVALID;
    }
    return CONFIG_FINE;
}
