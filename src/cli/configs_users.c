/* cli/configs_users.c - kafka-configs.sh for users, clients and addresses: quotas, and users' SCRAM credentials. */
#include "cli/columns.h"
#include "cli/configs.h"
#include "cli/scram.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_ANY = 2, SALT_BYTES = 26, EXPONENT_LOW = -3, EXPONENT_HIGH = 7 };

static const char *const user_quotas[] = {"consumer_byte_rate", "controller_mutation_rate", "producer_byte_rate", "request_percentage"};
static const char *const ip_quotas[] = {"connection_creation_rate"};

static struct arena *memory(struct configs *configs) { return admin_memory(&configs->admin); }

static bool is_one_of(struct span name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (span_equal(name, span_text(names[i]))) return true;
    return false;
}
static bool is_user_quota(struct span name) { return is_one_of(name, user_quotas, countof(user_quotas)); }

/* The fewest digits that are this number again; as digits and a power of ten. */
void double_text(double value, char out[32]) {
    char digits[32], *at = out;
    int precision = 1;
    if (isnan(value) || isinf(value)) {
        snprintf(out, 32, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    for (; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision - 1, fabs(value));
        if (strtod(digits, NULL) == fabs(value)) break;
    }
    int exponent = value == 0 ? 0 : atoi(strchr(digits, 'e') + 1), count = 0;
    char plain[24];
    for (const char *d = digits; *d != 'e'; d++)
        if (*d != '.') plain[count++] = *d;
    if (signbit(value)) *at++ = '-';
    if (exponent < EXPONENT_LOW || exponent >= EXPONENT_HIGH) {
        at += sprintf(at, "%c.%.*sE%d", plain[0], count > 1 ? count - 1 : 1, count > 1 ? plain + 1 : "0", exponent);
        return;
    }
    if (exponent < 0) {
        at += sprintf(at, "0.%.*s%.*s", -exponent - 1, "00000000", count, plain);
        return;
    }
    for (int i = 0; i <= exponent; i++) *at++ = i < count ? plain[i] : '0';
    *at++ = '.';
    if (count <= exponent + 1) *at++ = '0';
    for (int i = exponent + 1; i < count; i++) *at++ = plain[i];
    *at = 0;
}

/* ---- quotas ---------------------------------------------------------------------------------------------------------------- */

static const char *quota_type(enum config_entity_kind kind) { return kind == ENTITY_USERS ? "user" : kind == ENTITY_CLIENTS ? "client-id" : "ip"; }

static bool find_quotas(struct configs *configs, struct describe_client_quotas_response *response) {
    struct describe_client_quotas_request request;
    describe_client_quotas_request_init(&request);
    request.strict = true;
    request.components = describe_client_quotas_request_component_data_array(memory(configs), (int32_t)configs->kind_count);
    if (!request.components) return admin_fail_memory(&configs->admin);
    request.components_count = (int32_t)configs->kind_count;
    if (configs->name_count > configs->kind_count) return admin_fail(&configs->admin, NULL, "More entity names specified than entity types");
    for (uint32_t i = 0; i < configs->kind_count; i++) {
        struct describe_client_quotas_request_component_data *to = &request.components[i];
        to->entity_type = span_text(quota_type(configs->kinds[i]));
        to->match_type = i >= configs->name_count ? MATCH_ANY : *configs->names[i] ? MATCH_EXACT : MATCH_DEFAULT;
        to->match = to->match_type == MATCH_EXACT ? span_text(configs->names[i]) : (struct span){0}; /* null, not empty */
    }
    return admin_call(&configs->admin, CLIENT_ANY, API_DESCRIBE_CLIENT_QUOTAS, 0, "describeClientQuotas", &request, response) &&
           admin_check(&configs->admin, response->error_code, response->error_message);
}

static bool describe_quotas(struct configs *configs) {
    static const struct { const char *type, *told; } order[] = {{"user", "user-principal"}, {"client-id", "client-id"}, {"ip", "ip"}};
    struct describe_client_quotas_response response;
    if (!find_quotas(configs, &response)) return false;
    for (int32_t i = 0; i < response.entries_count; i++) {
        const struct describe_client_quotas_response_entry_data *entry = &response.entries[i];
        const char *between = "";
        printf("Quota configs for ");
        for (size_t k = 0; k < countof(order); k++)
            for (int32_t e = 0; e < entry->entity_count; e++) {
                if (!span_equal(entry->entity[e].entity_type, span_text(order[k].type))) continue;
                if (entry->entity[e].entity_name.data) printf("%s%s '%.*s'", between, order[k].told, (int)entry->entity[e].entity_name.size, (const char *)entry->entity[e].entity_name.data);
                else printf("%sthe default %s", between, order[k].told);
                between = ", ";
            }
        printf(" are ");
        for (int32_t v = 0; v < entry->values_count; v++) {
            char number[32];
            double_text(entry->values[v].value, number);
            printf("%s%.*s=%s", v ? ", " : "", (int)entry->values[v].key.size, (const char *)entry->values[v].key.data, number);
        }
        putchar('\n');
    }
    return true;
}

static bool check_deleted(struct configs *configs) {
    struct describe_client_quotas_response response;
    char list[ADMIN_WHY_MAX / 2];
    struct text text;
    text_init(&text, list, sizeof list);
    if (!find_quotas(configs, &response)) return false;
    for (uint32_t i = 0; i < configs->deleted_count; i++) {
        bool there = false;
        for (int32_t v = 0; response.entries_count > 0 && v < response.entries[0].values_count; v++) there |= span_equal(response.entries[0].values[v].key, configs->deleted[i]);
        if (!there) text_add(&text, text.size ? ",%.*s" : "%.*s", (int)configs->deleted[i].size, (const char *)configs->deleted[i].data);
    }
    return text.size == 0 || admin_fail(&configs->admin, NULL, "Invalid config(s): %s", list);
}

static bool alter_quotas(struct configs *configs) {
    struct alter_client_quotas_request request;
    struct alter_client_quotas_response response;
    struct alter_client_quotas_request_entry_data entry;
    int32_t count = 0;
    if (!check_deleted(configs)) return false;
    alter_client_quotas_request_init(&request);
    alter_client_quotas_request_entry_data_init(&entry);
    entry.entity = alter_client_quotas_request_entity_data_array(memory(configs), (int32_t)configs->kind_count);
    entry.ops = alter_client_quotas_request_op_data_array(memory(configs), (int32_t)(configs->added_count + configs->deleted_count));
    if (!entry.entity || !entry.ops) return admin_fail_memory(&configs->admin);
    entry.entity_count = (int32_t)configs->kind_count;
    for (uint32_t i = 0; i < configs->kind_count; i++) {
        entry.entity[i].entity_type = span_text(quota_type(configs->kinds[i]));
        entry.entity[i].entity_name = *configs->names[i] ? span_text(configs->names[i]) : (struct span){0}; /* null: the default */
    }
    for (uint32_t i = 0; i < configs->added_count; i++, count++) {
        entry.ops[count].key = configs->added[i].name;
        if (!config_parse_double(configs->added[i].value, &entry.ops[count].value))
            return admin_fail(&configs->admin, NULL, "Cannot parse quota configuration value for %.*s: %.*s", (int)configs->added[i].name.size, (const char *)configs->added[i].name.data,
                              (int)configs->added[i].value.size, (const char *)configs->added[i].value.data);
    }
    for (uint32_t i = 0; i < configs->deleted_count; i++, count++) {
        entry.ops[count].key = configs->deleted[i];
        entry.ops[count].remove = true;
    }
    entry.ops_count = count;
    request.entries = &entry;
    request.entries_count = 1;
    int tries = 0;
    int16_t code;
    do {
        if (!admin_call(&configs->admin, CLIENT_ANY, API_ALTER_CLIENT_QUOTAS, 0, "alterClientQuotas", &request, &response)) return false;
        code = response.entries_count == 1 ? response.entries[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
    } while (admin_again(&configs->admin, code, &tries));
    return admin_check(&configs->admin, code, response.entries_count == 1 ? response.entries[0].error_message : (struct span){0});
}

/* ---- SCRAM ------------------------------------------------------------------------------------------------------------------- */

static bool describe_scram(struct configs *configs) {
    struct describe_user_scram_credentials_request request;
    struct describe_user_scram_credentials_response response;
    struct describe_user_scram_credentials_request_user_name user = {0};
    describe_user_scram_credentials_request_init(&request);
    request.users_count = 0;
    if (configs->name_count) {
        user.name = span_text(configs->names[0]);
        request.users = &user;
        request.users_count = 1;
    }
    if (!admin_call(&configs->admin, CLIENT_ANY, API_DESCRIBE_USER_SCRAM_CREDENTIALS, 0, "describeUserScramCredentials", &request, &response) ||
        !admin_check(&configs->admin, response.error_code, response.error_message)) return false;
    for (int32_t i = 0; i < response.results_count; i++) {
        const struct describe_user_scram_credentials_response_describe_user_scram_credentials_result *result = &response.results[i];
        if (result->error_code == KAFKA_RESOURCE_NOT_FOUND) continue; /* has none */
        if (!admin_check(&configs->admin, result->error_code, result->error_message)) {
            printf("Error retrieving SCRAM credential configs for user-principal '%.*s': %s: %s\n", (int)result->user.size, (const char *)result->user.data, configs->admin.exception, configs->admin.why.bytes);
            admin_forgive(&configs->admin);
            continue;
        }
        printf("SCRAM credential configs for user-principal '%.*s' are ", (int)result->user.size, (const char *)result->user.data);
        for (int32_t k = 0; k < result->credential_infos_count; k++)
            printf("%s%s=iterations=%d", k ? ", " : "", scram_name((enum scram_mechanism)result->credential_infos[k].mechanism), result->credential_infos[k].iterations);
        putchar('\n');
    }
    return true;
}

/* "iterations=8192,password=secret"; all behind password= is it. */
static bool parse_password(struct configs *configs, enum scram_mechanism mechanism, struct span text, struct alter_user_scram_credentials_request_scram_credential_upsertion *out) {
    const char *value = cell_span(memory(configs), text), *at = value;
    long iterations = SCRAM_ITERATIONS_MIN;
    if (strncmp(at, "iterations=", 11) == 0) {
        char *end;
        iterations = strtol(at + 11, &end, 10);
        if (iterations == -1 || end == at + 11) iterations = SCRAM_ITERATIONS_MIN;
        at = *end == ',' ? end + 1 : "";
    }
    if (strncmp(at, "password=", 9) != 0) return admin_fail(&configs->admin, NULL, "Invalid credential property %s=%s", mechanism == SCRAM_SHA_256 ? "SCRAM_SHA_256" : "SCRAM_SHA_512", value);
    if (iterations < SCRAM_ITERATIONS_MIN)
        return admin_fail(&configs->admin, NULL, "Iterations %ld is less than the minimum %d required for %s", iterations, SCRAM_ITERATIONS_MIN, scram_name(mechanism));
    uint8_t *salt = arena_alloc(memory(configs), SALT_BYTES), *salted = arena_alloc(memory(configs), SCRAM_KEY_MAX);
    if (!salt || !salted) return admin_fail_memory(&configs->admin);
    if (getentropy(salt, SALT_BYTES)) never("the kernel has entropy");
    scram_salt_password(mechanism, span_text(at + 9), span_of(salt, SALT_BYTES), (int32_t)iterations, salted);
    out->name = span_text(configs->names[0]);
    out->mechanism = (int8_t)mechanism;
    out->iterations = (int32_t)iterations;
    out->salt = span_of(salt, SALT_BYTES);
    out->salted_password = span_of(salted, scram_key_size(mechanism));
    return true;
}

static bool alter_scram(struct configs *configs) {
    struct alter_user_scram_credentials_request request;
    struct alter_user_scram_credentials_response response;
    alter_user_scram_credentials_request_init(&request);
    request.upsertions = alter_user_scram_credentials_request_scram_credential_upsertion_array(memory(configs), (int32_t)configs->added_count);
    request.deletions = alter_user_scram_credentials_request_scram_credential_deletion_array(memory(configs), (int32_t)configs->deleted_count);
    if (!request.upsertions || !request.deletions) return admin_fail_memory(&configs->admin);
    request.upsertions_count = (int32_t)configs->added_count;
    request.deletions_count = (int32_t)configs->deleted_count;
    for (uint32_t i = 0; i < configs->added_count; i++)
        if (!parse_password(configs, scram_named(configs->added[i].name), configs->added[i].value, &request.upsertions[i])) return false;
    for (uint32_t i = 0; i < configs->deleted_count; i++) {
        request.deletions[i].name = span_text(configs->names[0]);
        request.deletions[i].mechanism = (int8_t)scram_named(configs->deleted[i]);
    }
    if (!admin_call(&configs->admin, CLIENT_ANY, API_ALTER_USER_SCRAM_CREDENTIALS, 0, "alterUserScramCredentials", &request, &response)) return false;
    for (int32_t i = 0; i < response.results_count; i++)
        if (!admin_check(&configs->admin, response.results[i].error_code, response.results[i].error_message)) return false;
    return true;
}

/* ---- both ----------------------------------------------------------------------------------------------------------------------- */

bool configs_users_describe(struct configs *configs) {
    bool clients = false, defaults = false;
    if (!describe_quotas(configs)) return false;
    for (uint32_t i = 0; i < configs->kind_count; i++) clients |= configs->kinds[i] != ENTITY_USERS;
    for (uint32_t i = 0; i < configs->name_count; i++) defaults |= !*configs->names[i];
    return clients || defaults || describe_scram(configs);
}

/* Names that are neither (for clients and addresses: no quotas) are refused, all of them in one sentence. */
static bool check_names(struct configs *configs, const char *told, bool added, bool scram_too) {
    char list[ADMIN_WHY_MAX / 2];
    struct text text;
    uint32_t count = added ? configs->added_count : configs->deleted_count;
    bool users = configs->kinds[0] == ENTITY_USERS && configs->kind_count == 1;
    text_init(&text, list, sizeof list);
    for (uint32_t i = 0; i < count; i++) {
        struct span name = added ? configs->added[i].name : configs->deleted[i];
        if (is_user_quota(name) || (scram_too && scram_named(name) != SCRAM_NONE)) continue;
        text_add(&text, text.size ? ", %.*s" : "%.*s", (int)name.size, (const char *)name.data);
    }
    return text.size == 0 || admin_fail(&configs->admin, NULL, "Only %s configs can be %s for '%s' using --bootstrap-server. Unexpected config names: %s(%s)", told, added ? "added" : "deleted",
                                        users ? "users" : "clients", added ? "Set" : "List", list);
}

bool configs_users_alter(struct configs *configs) {
    bool quotas = false, scram = false, users = configs->kinds[0] == ENTITY_USERS && configs->kind_count == 1;
    const char *told = users ? "quota and SCRAM credential" : "quota";
    for (uint32_t i = 0; i < configs->added_count + configs->deleted_count; i++) {
        struct span name = i < configs->added_count ? configs->added[i].name : configs->deleted[i - configs->added_count];
        quotas |= is_user_quota(name);
        scram |= scram_named(name) != SCRAM_NONE;
        if (configs->kinds[0] == ENTITY_IPS && !is_one_of(name, ip_quotas, countof(ip_quotas)))
            return admin_fail(&configs->admin, NULL, "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: %.*s", (int)name.size, (const char *)name.data);
    }
    if (configs->kinds[0] == ENTITY_IPS) return alter_quotas(configs);
    if (!check_names(configs, told, true, users) || !check_names(configs, told, false, users)) return false;
    if (!scram) return alter_quotas(configs);
    if (!*configs->names[0]) return admin_fail(&configs->admin, NULL, "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server.");
    if (quotas) return admin_fail(&configs->admin, NULL, "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.");
    return alter_scram(configs);
}
