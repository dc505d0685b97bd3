#include "base/bytes.h"
#include "controller/decide.h"

/* ---- BrokerRegistration */

/* The upper half zero, and the lower below 100 as a signed number. */
static bool is_reserved(struct uuid id) {
    for (size_t i = 0; i < 8; i++)
        if (id.bytes[i]) return false;
    return (int64_t)load_be64(id.bytes + 8) < 100;
}

static bool has_directory(const struct uuid *list, uint32_t count, struct uuid id) {
    for (uint32_t i = 0; i < count; i++)
        if (uuid_equal(list[i], id)) return true;
    return false;
}

static enum kafka_error check_directories(const struct decide *d, const struct broker_registration_request *in) {
    if (in->log_dirs_count <= 0) return KAFKA_INVALID_REGISTRATION;
    for (int32_t i = 0; i < in->log_dirs_count; i++)
        if (is_reserved(in->log_dirs[i]) || has_directory(in->log_dirs, (uint32_t)i, in->log_dirs[i])) return KAFKA_INVALID_REGISTRATION;
    for (const struct image_broker *other = NULL; (other = image_broker_next(d->image, other));)
        for (uint32_t i = 0; other->id != in->broker_id && i < other->directory_count; i++)
            if (has_directory(in->log_dirs, (uint32_t)in->log_dirs_count, other->directories[i])) return KAFKA_INVALID_REGISTRATION;
    return KAFKA_NONE;
}

/* Every finalized level must be one that the broker can do; a feature that it does not name, it can only do at 0. */
static enum kafka_error check_features(const struct decide *d, const struct broker_registration_request *in) {
    for (const struct image_feature *f = NULL; (f = image_feature_next(d->image, f));) {
        int16_t min = 0, max = 0;
        if (span_equal(f->name, SPAN_LITERAL(FEATURE_METADATA))) min = max = MV_MIN;
        for (int32_t i = 0; i < in->features_count; i++)
            if (span_equal(in->features[i].name, f->name)) min = in->features[i].min_supported_version, max = in->features[i].max_supported_version;
        if (f->level < min || f->level > max) return KAFKA_UNSUPPORTED_VERSION;
    }
    return KAFKA_NONE;
}

/* The same directories: whoever had them locked is gone, or this one could not have opened them. */
static bool has_same_directories(const struct image_broker *broker, const struct broker_registration_request *in) {
    if (in->log_dirs_count <= 0 || broker->directory_count != (uint32_t)in->log_dirs_count) return false;
    for (int32_t i = 0; i < in->log_dirs_count; i++)
        if (!has_directory(broker->directories, broker->directory_count, in->log_dirs[i])) return false;
    return true;
}

static void write_registration(struct decide *d, const struct broker_registration_request *in, const struct image_broker *amends, broker_epoch epoch) {
    int16_t mv = decide_mv(d), version = metadata_level(mv)->register_broker;
    struct register_broker_record r;
    register_broker_record_init(&r);
    r.broker_id = in->broker_id;
    r.incarnation_id = in->incarnation_id;
    r.broker_epoch = epoch;
    r.rack = in->rack;
    r.fenced = amends ? amends->fenced : true;
    r.in_controlled_shutdown = amends && amends->in_controlled_shutdown;
    r.end_points = register_broker_record_broker_endpoint_array(d->arena, in->listeners_count);
    r.features = register_broker_record_broker_feature_array(d->arena, in->features_count + 1);
    if (!r.end_points || !r.features) {
        d->failed = true;
        return;
    }
    for (int32_t i = 0; i < in->listeners_count; i++) {
        struct register_broker_record_broker_endpoint *to = &r.end_points[r.end_points_count++];
        to->name = in->listeners[i].name;
        to->host = in->listeners[i].host;
        to->port = in->listeners[i].port;
        to->security_protocol = in->listeners[i].security_protocol;
    }
    bool names_metadata = false;
    for (int32_t i = 0; i < in->features_count; i++) {
        struct register_broker_record_broker_feature *to = &r.features[r.features_count++];
        to->name = in->features[i].name;
        to->min_supported_version = in->features[i].min_supported_version;
        to->max_supported_version = in->features[i].max_supported_version;
        names_metadata |= span_equal(to->name, SPAN_LITERAL(FEATURE_METADATA));
    }
    if (!names_metadata)
        r.features[r.features_count++] = (struct register_broker_record_broker_feature){
            .name = SPAN_LITERAL(FEATURE_METADATA), .min_supported_version = MV_MIN, .max_supported_version = MV_MIN};
    if (mv_has_directories(mv)) {
        r.log_dirs = in->log_dirs;
        r.log_dirs_count = in->log_dirs_count;
    }
    if (mv_has_cordoned(mv) && amends && amends->cordoned_known) {
        r.cordoned_log_dirs = decide_alloc(d, amends->cordoned_count, sizeof(struct uuid));
        if (d->failed) return;
        for (uint32_t i = 0; i < amends->cordoned_count; i++) r.cordoned_log_dirs[i] = amends->cordoned[i];
        r.cordoned_log_dirs_count = (int32_t)amends->cordoned_count;
    }
    decide_record(d, &register_broker_record_message, version, &r);
}

enum kafka_error decide_register_broker(struct decide *d, const struct broker_registration_request *in, struct broker_registration_response *out,
                                        bool former_is_gone) {
    if (!span_equal(in->cluster_id, d->settings->cluster_id)) return KAFKA_INCONSISTENT_CLUSTER_ID;
    const struct image_broker *before = image_broker(d->image, in->broker_id);
    bool is_same = before && uuid_equal(before->incarnation, in->incarnation_id);
    /* A fenced one serves nobody: whoever comes last is it. */
    if (before && !is_same && !before->fenced && sessions_is_valid(d->sessions, in->broker_id, d->now_ms) &&
        !(former_is_gone && has_same_directories(before, in)))
        return KAFKA_DUPLICATE_BROKER_REGISTRATION;
    if (in->is_migrating_zk_broker) return KAFKA_BROKER_ID_NOT_REGISTERED;
    enum kafka_error error = mv_has_directories(decide_mv(d)) ? check_directories(d, in) : KAFKA_NONE;
    if (!error) error = check_features(d, in);
    if (error) return error;
    struct session *session = sessions_get(d->sessions, in->broker_id);
    if (!session) {
        d->failed = true;
        return KAFKA_NONE;
    }
    broker_epoch epoch = is_same ? before->epoch : d->next_offset;
    if (!is_same) {
        /* What the former process had may be lost if it did not end well: it did if the broker knows the epoch that it had.
         * Without ELR nobody can tell, and only the sync is lost. */
        bool unclean = decide_elr_is_on(d) && before && in->previous_broker_epoch != before->epoch;
        struct sweep sweep = {.remove = unclean ? -1 : in->broker_id, .add = -1, .unclean = unclean ? in->broker_id : -1};
        if ((session->in_isr || session->in_elr || session->leads) && !decide_sweep(d, &sweep)) {
            /* More than one step: these first, then the broker is asked to come again. */
            return KAFKA_REQUEST_TIMED_OUT;
        }
        sessions_forget(d->sessions, in->broker_id);
    }
    write_registration(d, in, is_same ? before : NULL, epoch);
    sessions_touch(session, d->now_ms, -1);
    out->broker_epoch = epoch;
    return KAFKA_NONE;
}

/* ---- BrokerHeartbeat: where the broker is, what it wants, where it gets to */

enum broker_state { BROKER_FENCED, BROKER_UNFENCED, BROKER_SHUTTING_DOWN, BROKER_SHUT_DOWN_NOW };

static enum broker_state state_of(const struct image_broker *broker) {
    return broker->in_controlled_shutdown ? BROKER_SHUTTING_DOWN : broker->fenced ? BROKER_FENCED : BROKER_UNFENCED;
}

static enum broker_state next_state(const struct decide *d, const struct image_broker *broker, const struct session *session,
                                    const struct broker_heartbeat_request *in, bool caught_up) {
    switch (state_of(broker)) {
    case BROKER_FENCED:
        if (in->want_shut_down) return BROKER_SHUT_DOWN_NOW;
        return !in->want_fence && caught_up ? BROKER_UNFENCED : BROKER_FENCED;
    case BROKER_UNFENCED:
        if (in->want_fence) return in->want_shut_down ? BROKER_SHUT_DOWN_NOW : BROKER_FENCED;
        if (in->want_shut_down) return session->leads ? BROKER_SHUTTING_DOWN : BROKER_SHUT_DOWN_NOW;
        return BROKER_UNFENCED;
    case BROKER_SHUTTING_DOWN:
        /* Others must have heard of their new leaders before this one goes. */
        if (session->leads || session->shutdown_offset > sessions_lowest_active(d->sessions, d->image)) return BROKER_SHUTTING_DOWN;
        return BROKER_SHUT_DOWN_NOW;
    case BROKER_SHUT_DOWN_NOW:
        break;
    }
    never("a broker's state that is not in the list");
}

static void change_registration(struct decide *d, const struct image_broker *broker, int16_t version, int8_t fenced, int8_t shutting_down) {
    struct broker_registration_change_record r;
    broker_registration_change_record_init(&r);
    r.broker_id = broker->id;
    r.broker_epoch = broker->epoch;
    r.fenced = fenced;
    r.in_controlled_shutdown = shutting_down;
    decide_record(d, &broker_registration_change_record_message, version, &r);
}

/* First it leaves every ISR, then it is fenced: never is a fenced broker in an ISR, also when it takes several steps. */
static bool fence(struct decide *d, const struct image_broker *broker, const struct session *session) {
    struct sweep sweep = {.remove = broker->id, .add = -1, .unclean = -1};
    if ((!session || session->in_isr || session->leads) && !decide_sweep(d, &sweep)) return false;
    if (!broker->fenced) change_registration(d, broker, 0, 1, 0);
    return true;
}

bool decide_fence(struct decide *d, broker_id id) {
    const struct image_broker *broker = image_broker(d->image, id);
    return !broker || fence(d, broker, sessions_find(d->sessions, id));
}

/* Directories that were online and are told to be offline: no replica in them is in sync. */
static void take_offline(struct decide *d, const struct image_broker *broker, const struct uuid *offline, int32_t count) {
    uint32_t left = 0;
    struct uuid *online = decide_alloc(d, broker->directory_count, sizeof *online);
    if (!online) return;
    for (uint32_t i = 0; i < broker->directory_count; i++) {
        if (!has_directory(offline, (uint32_t)count, broker->directories[i])) {
            online[left++] = broker->directories[i];
            continue;
        }
        struct sweep sweep = {.remove = broker->id, .add = -1, .unclean = -1, .directory = &broker->directories[i]};
        if (!decide_sweep(d, &sweep)) return; /* the next heartbeat says the same again */
    }
    if (left == broker->directory_count) return;
    struct broker_registration_change_record r;
    broker_registration_change_record_init(&r);
    r.broker_id = broker->id;
    r.broker_epoch = broker->epoch;
    r.log_dirs = online;
    r.log_dirs_count = (int32_t)left;
    decide_record(d, &broker_registration_change_record_message, 2, &r);
}

static void cordon(struct decide *d, const struct image_broker *broker, const struct uuid *dirs, int32_t count) {
    bool same = broker->cordoned_known && broker->cordoned_count == (uint32_t)count;
    for (int32_t i = 0; same && i < count; i++) same = has_directory(broker->cordoned, broker->cordoned_count, dirs[i]);
    if (same) return;
    struct broker_registration_change_record r;
    broker_registration_change_record_init(&r);
    r.broker_id = broker->id;
    r.broker_epoch = broker->epoch;
    r.cordoned_log_dirs = decide_alloc(d, (size_t)count, sizeof *dirs);
    if (!r.cordoned_log_dirs) return;
    for (int32_t i = 0; i < count; i++) r.cordoned_log_dirs[i] = dirs[i];
    r.cordoned_log_dirs_count = count;
    decide_record(d, &broker_registration_change_record_message, 3, &r);
}

enum kafka_error decide_heartbeat(struct decide *d, const struct broker_heartbeat_request *in, struct broker_heartbeat_response *out) {
    enum kafka_error error = decide_check_epoch(d, in->broker_id, in->broker_epoch);
    if (error) return error;
    const struct image_broker *broker = image_broker(d->image, in->broker_id);
    struct session *session = sessions_get(d->sessions, in->broker_id);
    if (!session) {
        d->failed = true;
        return KAFKA_NONE;
    }
    log_offset registered = session->registered_at >= 0 ? session->registered_at : broker->epoch;
    bool caught_up = in->current_metadata_offset >= registered;
    enum broker_state now = state_of(broker), next = next_state(d, broker, session, in, caught_up);
    if (next != now) {
        struct sweep moved = {.remove = broker->id, .add = -1, .unclean = -1};
        struct sweep found = {.remove = -1, .add = broker->id, .unclean = -1, .leaderless = true};
        switch (next) {
        case BROKER_FENCED: case BROKER_SHUT_DOWN_NOW:
            if (!fence(d, broker, session)) next = now; /* several steps: not yet */
            break;
        case BROKER_UNFENCED:
            change_registration(d, broker, 0, -1, 0);
            if (d->sessions->leaderless && !decide_sweep(d, &found)) d->unfinished = true;
            break;
        case BROKER_SHUTTING_DOWN:
            change_registration(d, broker, 1, 0, 1);
            (void)decide_sweep(d, &moved); /* as long as it leads, each of its heartbeats moves more */
            if (session->shutdown_offset < 0) session->shutdown_offset = d->next_offset + d->count - 1;
            break;
        }
    } else if (now == BROKER_SHUTTING_DOWN && (session->leads || session->in_isr)) {
        struct sweep moved = {.remove = broker->id, .add = -1, .unclean = -1};
        (void)decide_sweep(d, &moved);
    }
    sessions_touch(session, d->now_ms, in->current_metadata_offset);
    if (mv_has_directories(decide_mv(d)) && in->offline_log_dirs_count > 0) take_offline(d, broker, in->offline_log_dirs, in->offline_log_dirs_count);
    if (mv_has_cordoned(decide_mv(d)) && in->cordoned_log_dirs_count >= 0) cordon(d, broker, in->cordoned_log_dirs, in->cordoned_log_dirs_count);
    out->is_caught_up = caught_up;
    out->is_fenced = next == BROKER_FENCED || next == BROKER_SHUT_DOWN_NOW;
    out->should_shut_down = next == BROKER_SHUT_DOWN_NOW;
    return KAFKA_NONE;
}

/* ---- Unregistering, controllers, producer ids */

enum kafka_error decide_unregister_broker(struct decide *d, const struct unregister_broker_request *in, struct unregister_broker_response *out) {
    const struct image_broker *broker = image_broker(d->image, in->broker_id);
    if (!broker) {
        out->error_message = decide_text(d, "broker %d is not registered", in->broker_id);
        return KAFKA_BROKER_ID_NOT_REGISTERED;
    }
    struct sweep sweep = {.remove = in->broker_id, .add = -1, .unclean = in->broker_id, .elr = true};
    if (!decide_sweep(d, &sweep)) {
        decide_undo(d, 0);
        out->error_message = SPAN_LITERAL("the broker is in too many ISRs for one step: let it be fenced first");
        return KAFKA_POLICY_VIOLATION;
    }
    struct unregister_broker_record r = {.broker_id = broker->id, .broker_epoch = broker->epoch};
    decide_record(d, &unregister_broker_record_message, 0, &r);
    sessions_forget(d->sessions, broker->id);
    return KAFKA_NONE;
}

enum kafka_error decide_register_controller(struct decide *d, const struct controller_registration_request *in, struct controller_registration_response *out) {
    if (!mv_has_controller_registration(decide_mv(d))) {
        out->error_message = SPAN_LITERAL("controllers register from metadata.version 3.7-IV0 on");
        return KAFKA_UNSUPPORTED_VERSION;
    }
    struct register_controller_record r;
    register_controller_record_init(&r);
    r.controller_id = in->controller_id;
    r.incarnation_id = in->incarnation_id;
    r.end_points = register_controller_record_controller_endpoint_array(d->arena, in->listeners_count);
    r.features = register_controller_record_controller_feature_array(d->arena, in->features_count);
    if (!r.end_points || !r.features) {
        d->failed = true;
        return KAFKA_NONE;
    }
    r.end_points_count = in->listeners_count;
    r.features_count = in->features_count;
    for (int32_t i = 0; i < in->listeners_count; i++) {
        r.end_points[i].name = in->listeners[i].name;
        r.end_points[i].host = in->listeners[i].host;
        r.end_points[i].port = in->listeners[i].port;
        r.end_points[i].security_protocol = in->listeners[i].security_protocol;
    }
    for (int32_t i = 0; i < in->features_count; i++) {
        r.features[i].name = in->features[i].name;
        r.features[i].min_supported_version = in->features[i].min_supported_version;
        r.features[i].max_supported_version = in->features[i].max_supported_version;
    }
    decide_record(d, &register_controller_record_message, 0, &r);
    return KAFKA_NONE;
}

enum kafka_error decide_unregister_controller(struct decide *d, const struct unregister_controller_request *in, struct unregister_controller_response *out) {
    if (in->controller_id == d->settings->node) {
        out->error_message = decide_text(d, "controller %d is the active one", in->controller_id);
        return KAFKA_INVALID_REQUEST;
    }
    if (!mv_has_controller_unregistration(decide_mv(d))) {
        out->error_message = SPAN_LITERAL("controllers are unregistered from metadata.version 4.4-IV2 on");
        return KAFKA_UNSUPPORTED_VERSION;
    }
    if (!image_controller(d->image, in->controller_id)) {
        out->error_message = decide_text(d, "controller %d is not registered", in->controller_id);
        return KAFKA_CONTROLLER_ID_NOT_REGISTERED;
    }
    struct unregister_controller_record r = {.controller_id = in->controller_id};
    decide_record(d, &unregister_controller_record_message, 0, &r);
    return KAFKA_NONE;
}

enum kafka_error decide_allocate_producer_ids(struct decide *d, const struct allocate_producer_ids_request *in, struct allocate_producer_ids_response *out) {
    enum kafka_error error = decide_check_epoch(d, in->broker_id, in->broker_epoch);
    if (error) return error;
    producer_id first = image_next_producer_id(d->image);
    if (first < 0) first = 0;
    if (first > INT64_MAX - PRODUCER_IDS_BLOCK) return KAFKA_UNKNOWN_SERVER_ERROR;
    struct producer_ids_record r = {.broker_id = in->broker_id, .broker_epoch = in->broker_epoch, .next_producer_id = first + PRODUCER_IDS_BLOCK};
    decide_record(d, &producer_ids_record_message, 0, &r);
    out->producer_id_start = first;
    out->producer_id_len = PRODUCER_IDS_BLOCK;
    return KAFKA_NONE;
}
