/* cli/configs.h - kafka-configs.sh: configurations of topics, brokers, groups and client metrics (configs.c); quotas and
 * SCRAM credentials of users, clients and addresses (configs_users.c).
 */
#pragma once
#include "cli/admin.h"

int configs_run(struct args *args);

/* What the options name: one entity, or a user and a client together. */
enum config_entity_kind { ENTITY_TOPICS, ENTITY_CLIENTS, ENTITY_USERS, ENTITY_BROKERS, ENTITY_BROKER_LOGGERS, ENTITY_IPS, ENTITY_CLIENT_METRICS, ENTITY_GROUPS, ENTITY_KINDS };
enum { CONFIG_CHANGES_MAX = 512, CONFIG_ENTITIES_MAX = 16 };
struct config_change { struct span name, value; };
struct configs {
    struct admin admin;
    enum config_entity_kind kinds[CONFIG_ENTITIES_MAX];
    const char *names[CONFIG_ENTITIES_MAX];     /* "": the default of all */
    uint32_t kind_count, name_count;
    struct config_change added[CONFIG_CHANGES_MAX];
    struct span deleted[CONFIG_CHANGES_MAX];
    uint32_t added_count, deleted_count;
};
/* "k1=v1,k2=[v1,v2],k3=" into `added`. False: `why` has a sentence. */
must_use bool configs_parse_added(struct configs *configs, const char *text);
/* A number as Java writes a double: 1024.0, 1.0E7. */
void double_text(double value, char out[32]);

must_use bool configs_users_alter(struct configs *configs);
must_use bool configs_users_describe(struct configs *configs);
