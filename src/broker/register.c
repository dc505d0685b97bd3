#include "broker/register.h"

/* The first tries come quickly: the controller of this very process is active a few milliseconds after its start. */
enum { RETRY_FIRST_MS = 2, RETRY_MS = 100, CATCH_UP_MS = 10, LEAVING_MS = 50 };

struct registration {
    struct registration_options options;
    struct shard *shard;
    struct broker_node *node;
    enum registration_state state;
    broker_epoch epoch;
    log_offset image_offset;      /* of the last record in this node's image; -1: none */
    bool image_has_us;            /* with this epoch */
    bool image_has_cordoned;      /* the controller believes that some of our directories take nothing new */
    bool calling, again, has_served;
    struct timer timer;
    struct arena arena;           /* of the call under way */
    struct control_call call;
    union {
        struct { struct broker_registration_request request; struct broker_registration_response response; } enrol;
        struct { struct broker_heartbeat_request request; struct broker_heartbeat_response response; } beat;
    };
    time_ms leave_until_ms;
    time_ms retry_ms;               /* of the last try to enrol; 0: none failed yet */
    void (*left)(void *context);
    void *left_context;
};

static time_ms now_ms(const struct registration *registration) {
    return shard_now(registration->shard) / NS_PER_MS;
}

static void next_step(struct timer *timer);

static void after(struct registration *registration, time_ms ms) {
    if (!timer_set(registration->shard, &registration->timer, shard_now(registration->shard) + ms * NS_PER_MS, next_step))
        never("a timer that is set once can always be moved");
}

static void gone(struct registration *registration) {
    if (registration->state == REGISTRATION_GONE) return;
    registration->state = REGISTRATION_GONE;
    timer_cancel(registration->shard, &registration->timer);
    if (registration->left) registration->left(registration->left_context);
}

static void ask(struct registration *registration, int16_t key, int16_t version, const void *request, void *response, void (*done)(struct control_call *)) {
    registration->calling = true;
    registration->call = (struct control_call){.api = wire_api(key), .version = version, .request = request, .response = response,
                                               .arena = &registration->arena, .done = done};
    registration->node->control.call(registration->node->control.self, &registration->call);
}

/* ---- registration ---------------------------------------------------------------------------------------------------- */

/* Longer each time, from a very short wait on. */
static time_ms backed_off(struct registration *registration, time_ms most) {
    registration->retry_ms = registration->retry_ms ? registration->retry_ms * 2 : RETRY_FIRST_MS;
    if (registration->retry_ms > most) registration->retry_ms = most;
    return registration->retry_ms;
}

static void enrolled(struct control_call *call) {
    struct registration *registration = container_of(call, struct registration, call);
    registration->calling = false;
    enum kafka_error error = call->error ? call->error : (enum kafka_error)registration->enrol.response.error_code;
    broker_epoch epoch = registration->enrol.response.broker_epoch;
    arena_reset(&registration->arena);
    if (registration->state == REGISTRATION_LEAVING) {
        gone(registration);
        return;
    }
    if (error) {
        /* With that the controller says that it has done a part: ten thousand of the partitions, and goes on when asked. */
        if (error == KAFKA_REQUEST_TIMED_OUT) registration->retry_ms = 0;
        after(registration, backed_off(registration, RETRY_MS));
        return;
    }
    registration->retry_ms = 0;
    registration->epoch = epoch;
    registration->state = REGISTRATION_CATCHING_UP;
    if (registration->again) next_step(&registration->timer);
    else after(registration, CATCH_UP_MS);
}

static bool fill(struct registration *registration, struct broker_registration_request *request) {
    struct broker_node *node = registration->node;
    struct arena *arena = &registration->arena;
    broker_registration_request_init(request);
    request->broker_id = node->id;
    request->cluster_id = span_text(node->cluster_id);
    request->incarnation_id = node->incarnation;
    request->rack = registration->options.rack[0] ? span_text(registration->options.rack) : (struct span){0};
    request->previous_broker_epoch = registration->options.previous_epoch;
    request->listeners = broker_registration_request_listener_array(arena, (int32_t)node->listener_count);
    request->features = broker_registration_request_feature_array(arena, FEATURES_COUNT);
    request->log_dirs = ARENA_ARRAY(arena, log_dirs_count(node->dirs), struct uuid);
    if (!request->listeners || !request->features || !request->log_dirs) return false;
    for (uint32_t i = 0; i < node->listener_count; i++) {
        if (node->listeners[i].is_controller) continue;
        struct broker_registration_request_listener *listener = &request->listeners[request->listeners_count++];
        listener->name = span_text(node->listeners[i].name);
        listener->host = span_text(node->listeners[i].host);
        listener->port = node->listeners[i].port;
    }
    for (uint32_t i = 0; i < FEATURES_COUNT; i++) {
        request->features[i].name = span_text(features[i].name);
        request->features[i].min_supported_version = features[i].min;
        request->features[i].max_supported_version = features[i].max;
    }
    request->features_count = FEATURES_COUNT;
    for (uint32_t i = 0; i < log_dirs_count(node->dirs); i++) {
        struct log_dir *dir = log_dirs_at(node->dirs, i);
        if (log_dir_is_online(dir)) request->log_dirs[request->log_dirs_count++] = log_dir_id(dir);
    }
    return true;
}

static void enrol(struct registration *registration) {
    arena_reset(&registration->arena);
    if (!fill(registration, &registration->enrol.request)) {
        after(registration, RETRY_MS);
        return;
    }
    broker_registration_response_init(&registration->enrol.response);
    registration->again = false;
    registration->image_has_us = false;
    ask(registration, API_BROKER_REGISTRATION, 4, &registration->enrol.request, &registration->enrol.response, enrolled);
}

/* ---- heartbeats ----------------------------------------------------------------------------------------------------------- */

static void has_beaten(struct control_call *call) {
    struct registration *registration = container_of(call, struct registration, call);
    struct broker_heartbeat_response answer = registration->beat.response;
    enum kafka_error error = call->error ? call->error : (enum kafka_error)answer.error_code;
    registration->calling = false;
    arena_reset(&registration->arena);
    if (registration->state == REGISTRATION_LEAVING) {
        if (error || answer.should_shut_down || now_ms(registration) >= registration->leave_until_ms) gone(registration);
        else after(registration, backed_off(registration, LEAVING_MS));
        return;
    }
    if (error == KAFKA_STALE_BROKER_EPOCH || error == KAFKA_BROKER_ID_NOT_REGISTERED) {
        registration->state = REGISTRATION_ASKING;
        after(registration, RETRY_MS);
        return;
    }
    if (!error && !answer.is_fenced) {
        registration->state = REGISTRATION_SERVING;
        after(registration, registration->options.heartbeat_ms);
    } else {
        if (registration->state == REGISTRATION_SERVING) registration->state = REGISTRATION_FENCED;
        after(registration, error ? RETRY_MS : CATCH_UP_MS);
    }
}

/* Which directories take no new partitions: told when there are any, or when the controller believes that there are. */
static void tell_cordoned(struct registration *registration, struct broker_heartbeat_request *request) {
    struct log_dirs *dirs = registration->node->dirs;
    struct uuid *cordoned = ARENA_ARRAY(&registration->arena, log_dirs_count(dirs), struct uuid);
    int32_t count = 0;
    if (!cordoned) return; /* the next heartbeat tells it */
    for (uint32_t i = 0; i < log_dirs_count(dirs); i++)
        if (log_dir_is_cordoned(log_dirs_at(dirs, i))) cordoned[count++] = log_dir_id(log_dirs_at(dirs, i));
    if (count == 0 && !registration->image_has_cordoned) return;
    request->cordoned_log_dirs = cordoned;
    request->cordoned_log_dirs_count = count;
}

/* cordoned.log.dirs as this image has it. True: it is another than before. */
static bool cordon(struct registration *registration, const struct image *image) {
    struct broker_node *node = registration->node;
    struct config_view view = {.image = image, .values = node->config, .broker = node->id};
    struct span paths = config_text(&view, KEY_cordoned_log_dirs, NULL);
    bool all = config_list_contains(paths, SPAN_LITERAL("*")), changed = false;
    for (uint32_t i = 0; i < log_dirs_count(node->dirs); i++) {
        struct log_dir *dir = log_dirs_at(node->dirs, i);
        bool cordoned = all || config_list_contains(paths, span_text(log_dir_path(dir)));
        changed |= cordoned != log_dir_is_cordoned(dir);
        log_dir_cordon(dir, cordoned);
    }
    return changed;
}

static void beat(struct registration *registration) {
    struct broker_heartbeat_request *request = &registration->beat.request;
    arena_reset(&registration->arena);
    broker_heartbeat_request_init(request);
    broker_heartbeat_response_init(&registration->beat.response);
    request->broker_id = registration->node->id;
    request->broker_epoch = registration->epoch;
    request->current_metadata_offset = registration->image_offset;
    request->want_shut_down = registration->state == REGISTRATION_LEAVING;
    /* Directories that failed are told with every heartbeat: their replicas go elsewhere. */
    request->offline_log_dirs = ARENA_ARRAY(&registration->arena, log_dirs_count(registration->node->dirs), struct uuid);
    for (uint32_t i = 0; request->offline_log_dirs && i < log_dirs_count(registration->node->dirs); i++) {
        struct log_dir *dir = log_dirs_at(registration->node->dirs, i);
        if (!log_dir_is_online(dir)) request->offline_log_dirs[request->offline_log_dirs_count++] = log_dir_id(dir);
    }
    tell_cordoned(registration, request);
    ask(registration, API_BROKER_HEARTBEAT, 2, request, &registration->beat.response, has_beaten);
}

static void next_step(struct timer *timer) {
    struct registration *registration = container_of(timer, struct registration, timer);
    if (registration->calling || registration->state == REGISTRATION_GONE) return;
    switch (registration->state) {
    case REGISTRATION_ASKING: enrol(registration); break;
    case REGISTRATION_CATCHING_UP:
        if (!registration->image_has_us) {
            after(registration, registration->options.heartbeat_ms); /* the image comes first: registration_image */
            break;
        }
        registration->state = REGISTRATION_FENCED;
        beat(registration);
        break;
    case REGISTRATION_LEAVING:
        if (now_ms(registration) >= registration->leave_until_ms) gone(registration);
        else beat(registration);
        break;
    default: beat(registration);
    }
}

void registration_image(struct registration *registration, const struct image *image) {
    const struct image_broker *self = image_broker(image, registration->node->id);
    registration->image_offset = image_position(image).offset - 1;
    bool is_us = self && uuid_equal(self->incarnation, registration->node->incarnation);
    if (registration->state >= REGISTRATION_LEAVING) return;
    registration->image_has_us = is_us;
    registration->image_has_cordoned = is_us && self->cordoned_known && self->cordoned_count > 0;
    if (cordon(registration, image) && registration->state == REGISTRATION_SERVING && !registration->calling) after(registration, 0);
    if (is_us && !self->fenced && !registration->has_served) {
        registration->has_served = true;
        registration->options.on_serving(registration->options.context);
    }
    if (registration->state == REGISTRATION_CATCHING_UP && is_us) {
        next_step(&registration->timer);
    } else if (registration->state == REGISTRATION_ASKING && is_us) {
        registration->again = true; /* the image was faster than the answer */
    } else if (registration->state > REGISTRATION_CATCHING_UP && (!self || !is_us)) {
        registration->state = REGISTRATION_ASKING; /* unregistered: again */
        if (!registration->calling) after(registration, RETRY_MS);
    }
}

void registration_start(struct registration *registration) {
    after(registration, 0);
}

void registration_leave(struct registration *registration, time_ms timeout_ms, void (*left)(void *context), void *context) {
    registration->left = left;
    registration->left_context = context;
    registration->leave_until_ms = now_ms(registration) + timeout_ms;
    bool was_known = registration->state > REGISTRATION_CATCHING_UP;
    registration->state = REGISTRATION_LEAVING;
    if (registration->calling) return; /* its answer goes on from there */
    if (was_known) after(registration, 0);
    else gone(registration);
}

enum registration_state registration_state(const struct registration *registration) {
    return registration->state;
}

broker_epoch registration_epoch(const struct registration *registration) {
    return registration->epoch;
}

enum err registration_open(struct registration **out, const struct registration_options *options) {
    struct registration *registration = POOL_NEW(options->shard->pool, struct registration);
    if (!registration) return ERR_NO_MEMORY;
    registration->options = *options;
    registration->shard = options->shard;
    registration->node = options->node;
    registration->epoch = -1;
    registration->image_offset = -1;
    arena_init(&registration->arena, options->shard->pool, 0);
    *out = registration;
    return ERR_NONE;
}

void registration_free(struct registration *registration) {
    if (!registration) return;
    timer_cancel(registration->shard, &registration->timer);
    arena_destroy(&registration->arena);
    pool_free(registration->shard->pool, registration, sizeof *registration);
}
