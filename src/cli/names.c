#define PCRE2_CODE_UNIT_WIDTH 8
#include "cli/names.h"
#include "wire/errors.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct names {
    pcre2_code *code;
    pcre2_match_data *match;
};

struct names *names_new(const char *pattern, struct text *why) {
    struct names *names = calloc(1, sizeof *names);
    size_t size = strlen(pattern), kept = 0;
    char *text = malloc(size + 1);
    if (!names || !text) {
        free(text);
        free(names);
        text_add(why, "out of memory");
        return NULL;
    }
    for (const char *at = pattern; *at; at++)
        if (*at != ' ') text[kept++] = *at == ',' ? '|' : *at;
    char *from = text;
    while (kept > 0 && (*from == '"' || *from == '\'')) from++, kept--;
    while (kept > 0 && (from[kept - 1] == '"' || from[kept - 1] == '\'')) kept--;
    int error;
    PCRE2_SIZE at;
    names->code = pcre2_compile((PCRE2_SPTR)from, kept, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &error, &at, NULL);
    if (names->code) names->match = pcre2_match_data_create(1, NULL);
    if (!names->match) {
        text_add(why, "%.*s is an invalid regex.", (int)kept, from);
        names_free(names);
        names = NULL;
    }
    free(text);
    return names;
}

bool names_match(const struct names *names, struct span name) {
    return pcre2_match(names->code, name.data, name.size, 0, 0, names->match, NULL) >= 0;
}

void names_free(struct names *names) {
    if (!names) return;
    pcre2_match_data_free(names->match);
    pcre2_code_free(names->code);
    free(names);
}

const char *names_of_error(int16_t code) {
    switch (code) {
    case KAFKA_UNKNOWN_SERVER_ERROR: return "The server experienced an unexpected error when processing the request.";
    case KAFKA_UNKNOWN_TOPIC_OR_PARTITION: return "This server does not host this topic-partition.";
    case KAFKA_REQUEST_TIMED_OUT: return "The request timed out.";
    case KAFKA_TOPIC_AUTHORIZATION_FAILED: return "Topic authorization failed.";
    case KAFKA_CLUSTER_AUTHORIZATION_FAILED: return "Cluster authorization failed.";
    case KAFKA_TOPIC_ALREADY_EXISTS: return "Topic with this name already exists.";
    case KAFKA_INVALID_PARTITIONS: return "Number of partitions is below 1.";
    case KAFKA_INVALID_REPLICATION_FACTOR: return "Replication factor is below 1 or larger than the number of available brokers.";
    case KAFKA_INVALID_REPLICA_ASSIGNMENT: return "Replica assignment is invalid.";
    case KAFKA_INVALID_CONFIG: return "Configuration is invalid.";
    case KAFKA_NOT_CONTROLLER: return "This is not the correct controller for this cluster.";
    case KAFKA_POLICY_VIOLATION: return "Request parameters do not satisfy the configured policy.";
    case KAFKA_TOPIC_DELETION_DISABLED: return "Topic deletion is disabled.";
    case KAFKA_UNKNOWN_TOPIC_ID: return "This server does not host this topic ID.";
    default: return kafka_error_name(code);
    }
}
