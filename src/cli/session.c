#include "cli/session.h"
#include "cli/properties.h"
#include "cli/servers.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the admin client's default.api.timeout.ms. */
enum { API_TIMEOUT_MS = 60000, FREE_CHUNKS = 64 };

bool session_open(struct session *session, const char *bootstrap, const char *config_path, struct text *why) {
    memset(session, 0, sizeof *session);
    pool_init(&session->pool, 0, FREE_CHUNKS);
    arena_init(&session->arena, &session->pool, 0);
    config_values_init(&session->config, &session->arena);
    session->timeout_ms = API_TIMEOUT_MS;
    if (config_path && !properties_read_file(&session->config, config_path, why)) return false;
    if (!properties_check_security(&session->config, why)) return false;
    if (!servers_check(bootstrap, why)) {
        fprintf(stderr, "%s\n", why->bytes); /* the cause of what Kafka's tools then say */
        text_reset(why);
        text_add(why, "Failed to create new KafkaAdminClient");
        return false;
    }
    const char *timeout = properties_text(&session->config, "default.api.timeout.ms");
    if (timeout && atoll(timeout) > 0) session->timeout_ms = atoll(timeout);
    struct pool *pools[1] = {&session->pool};
    struct io *io = NULL;
    /* epoll: to set up a ring takes longer than most tools' whole work. */
    int error = io_open(&io, &(struct io_options){.backend = IO_BACKEND_EPOLL, .offload_threads = 1, .pool = &session->pool});
    if (error < 0) {
        text_add(why, "no event loop: %s", strerror(-error));
        return false;
    }
    if (shard_group_open(&session->group, &(struct shard_options){.count = 1, .ios = &io, .pools = pools})) {
        io_close(io);
        session->group = NULL;
        text_add(why, "out of memory");
        return false;
    }
    const char *client_id = properties_text(&session->config, "client.id");
    struct client_options options = {.shard = shard_at(session->group, 0), .bootstrap = bootstrap, .client_id = client_id ? client_id : "adminclient-1"};
    if (client_open(&session->client, &options)) {
        session->client = NULL;
        text_add(why, "Invalid url in bootstrap.servers: %s", bootstrap);
        return false;
    }
    return true;
}

enum err session_call(struct session *session, int16_t api_key, const void *request, void *response) {
    struct client_call call = {.broker = CLIENT_ANY, .api_key = api_key, .request = request, .response = response,
                               .arena = &session->arena, .timeout_ms = session->timeout_ms};
    return client_wait(session->client, &call);
}

struct pause { struct timer timer; bool over; };
static void pause_over(struct timer *timer) { container_of(timer, struct pause, timer)->over = true; }

void session_pause(struct session *session, time_ms ms) {
    struct shard *shard = shard_at(session->group, 0);
    struct pause pause = {.over = false};
    if (!timer_set(shard, &pause.timer, shard_now(shard) + ms * NS_PER_MS, pause_over)) return;
    while (!pause.over) shard_turn(shard, INT64_MAX);
}

static void closed(void *context) { *(bool *)context = true; }

void session_close(struct session *session) {
    if (session->client) {
        bool is_closed = false;
        client_close(session->client, closed, &is_closed);
        while (!is_closed) shard_turn(shard_at(session->group, 0), INT64_MAX);
    }
    if (session->group) shard_group_close(session->group);
    arena_destroy(&session->arena);
    pool_destroy(&session->pool);
}
