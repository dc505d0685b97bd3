/* cli/session.h - a tool's own little world: one io, one shard, one client of a cluster.
 *
 * Everything lives until session_close. A tool asks one thing after another and waits for each answer.
 */
#pragma once
#include "client/client.h"
#include "meta/meta.h"

struct session {
    struct pool pool;
    struct arena arena;            /* requests, answers, the configuration */
    struct shard_group *group;
    struct client *client;
    struct config_values config;   /* of --command-config; empty without it */
    time_ms timeout_ms;            /* default.api.timeout.ms */
};
/* False: `why` has a sentence. config_path may be NULL. */
must_use bool session_open(struct session *session, const char *bootstrap, const char *config_path, struct text *why);
/* Any broker is asked. The messages are the API's generated structs. */
must_use enum err session_call(struct session *session, int16_t api_key, const void *request, void *response);
void session_pause(struct session *session, time_ms ms);
void session_close(struct session *session); /* also of one that could not be opened */
