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

bool names_is_internal(struct span topic) {
    return span_equal(topic, SPAN_LITERAL("__consumer_offsets")) || span_equal(topic, SPAN_LITERAL("__transaction_state")) ||
           span_equal(topic, SPAN_LITERAL("__share_group_state"));
}

/* PCRE2 reads what RE2 reads and more: what RE2 leaves out is looked for first. */
static const char *beyond_re2(const char *pattern) {
    bool in_class = false;
    for (const char *at = pattern; *at; at++) {
        if (*at == '\\') {
            at++;
            if (!*at) return "trailing backslash at end of expression";
            if (*at == 'Q') {
                const char *end = strstr(at, "\\E");
                if (!end) return NULL;
                at = end + 1;
            } else if ((*at >= '1' && *at <= '9') || strchr("GKRXZghkyc", *at)) return "invalid escape sequence";
        } else if (in_class) in_class = *at != ']';
        else if (*at == '[') {
            in_class = true;
            if (at[1] == '^') at++;
            if (at[1] == ']') at++;
        } else if (at[0] == '(' && at[1] == '?' && !(at[2] == 'P' && at[3] == '<') && (strchr("=!>|#&+(RC\'0123456789P", at[2] ? at[2] : '=') || (at[2] == '<' && (at[3] == '=' || at[3] == '!'))))
            return "invalid or unsupported Perl syntax";
        else if (strchr("*+?}", at[0]) && (at[1] == '+' || at[1] == '*') && at > pattern) return "invalid nested repetition operator";
    }
    return NULL;
}

const char *names_re2_problem(const char *pattern) {
    static const struct { int from, to; const char *said; } problems[] = {
        {PCRE2_ERROR_END_BACKSLASH, PCRE2_ERROR_END_BACKSLASH, "trailing backslash at end of expression"}, {PCRE2_ERROR_UNKNOWN_ESCAPE, PCRE2_ERROR_UNKNOWN_ESCAPE, "invalid escape sequence"},
        {PCRE2_ERROR_QUANTIFIER_OUT_OF_ORDER, PCRE2_ERROR_QUANTIFIER_TOO_BIG, "invalid repeat count"}, {PCRE2_ERROR_MISSING_SQUARE_BRACKET, PCRE2_ERROR_MISSING_SQUARE_BRACKET, "missing closing ]"},
        {PCRE2_ERROR_MALFORMED_UNICODE_PROPERTY, PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY, "invalid character class range"}, {PCRE2_ERROR_CLASS_RANGE_ORDER, PCRE2_ERROR_CLASS_RANGE_ORDER, "invalid character class range"}, {PCRE2_ERROR_QUANTIFIER_INVALID, PCRE2_ERROR_QUANTIFIER_INVALID, "missing argument to repetition operator"},
        {PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, "missing closing )"}, {PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, "regexp/syntax: internal error"},
    };
    int error;
    PCRE2_SIZE at;
    const char *why = beyond_re2(pattern);
    if (why) return why;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern), PCRE2_UTF, &error, &at, NULL);
    if (code) {
        pcre2_code_free(code);
        return NULL;
    }
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        if (error >= problems[i].from && error <= problems[i].to) return problems[i].said;
    return "invalid or unsupported Perl syntax";
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
    case KAFKA_OFFSET_OUT_OF_RANGE: return "The requested offset is not within the range of offsets maintained by the server.";
    case KAFKA_LEADER_NOT_AVAILABLE: return "There is no leader for this topic-partition as we are in the middle of a leadership election.";
    case KAFKA_NOT_LEADER_OR_FOLLOWER: return "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.";
    case KAFKA_COORDINATOR_LOAD_IN_PROGRESS: return "The coordinator is loading and hence can't process requests.";
    case KAFKA_COORDINATOR_NOT_AVAILABLE: return "The coordinator is not available.";
    case KAFKA_NOT_COORDINATOR: return "This is not the correct coordinator.";
    case KAFKA_INVALID_TOPIC_EXCEPTION: return "The request attempted to perform an operation on an invalid topic.";
    case KAFKA_INVALID_GROUP_ID: return "The group id is invalid.";
    case KAFKA_UNKNOWN_MEMBER_ID: return "The coordinator is not aware of this member.";
    case KAFKA_GROUP_AUTHORIZATION_FAILED: return "Group authorization failed.";
    case KAFKA_UNSUPPORTED_VERSION: return "The version of API is not supported.";
    case KAFKA_INVALID_REQUEST: return "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
    case KAFKA_KAFKA_STORAGE_ERROR: return "Disk error when trying to access log file on the disk.";
    case KAFKA_NON_EMPTY_GROUP: return "The group is not empty.";
    case KAFKA_GROUP_ID_NOT_FOUND: return "The group id does not exist.";
    case KAFKA_GROUP_SUBSCRIBED_TO_TOPIC: return "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.";
    case KAFKA_FEATURE_UPDATE_FAILED: return "Unable to update finalized features due to an unexpected server error.";
    case KAFKA_BROKER_ID_NOT_REGISTERED: return "The given broker ID was not registered.";
    default: return kafka_error_name(code);
    }
}
