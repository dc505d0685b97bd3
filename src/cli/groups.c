#include "cli/groups.h"
#include "cli/columns.h"
#include "cli/names.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const states[] = {"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"};
static const char *const types[] = {"Classic", "Consumer"};

static int by_text(const void *a, const void *b) { return span_compare(*(const struct span *)a, *(const struct span *)b); }

/* ---- list ------------------------------------------------------------------------------------------------------------------ */

/* A list of words, each one of those that are known, whatever its case; -1: one is not. */
static int32_t read_words(const char *text, const char *const *known, size_t known_count, struct span *out) {
    int32_t count = 0;
    struct span rest = span_text(text ? text : ""), item;
    while (config_list_next(&rest, &item)) {
        size_t i = 0;
        while (i < known_count && (strlen(known[i]) != item.size || strncasecmp(known[i], (const char *)item.data, item.size) != 0)) i++;
        if (i == known_count) return -1;
        bool there = false;
        for (int32_t j = 0; j < count; j++) there |= span_equal(out[j], span_text(known[i]));
        if (!there) out[count++] = span_text(known[i]);
    }
    return count;
}

/* Brokers write it in small letters. */
static const char *type_text_of(struct span type) {
    for (size_t i = 0; i < countof(types); i++)
        if (type.size == strlen(types[i]) && strncasecmp(types[i], (const char *)type.data, type.size) == 0) return types[i];
    return "Unknown";
}

static int wrong_words(struct admin *admin, const char *what, const char *plural, const char *text, const char *const *known, size_t count) {
    char all[256];
    struct text valid;
    text_init(&valid, all, sizeof all);
    for (size_t i = 0; i < count; i++) text_add(&valid, i ? ", %s" : "%s", known[i]);
    return args_wrong(admin->args, "Invalid %s list '%s'. Valid %s are: %s", what, text, plural, valid.bytes);
}

/* Answers -1 when `why` tells what went wrong; else the exit status. */
static int run_list(struct admin *admin) {
    struct span wanted_states[countof(states)], wanted_types[countof(types)];
    struct group_listing listing;
    bool with_type = args_has(admin->args, "type"), with_state = args_has(admin->args, "state");
    const char *type_text = args_text(admin->args, "type"), *state_text = args_text(admin->args, "state");
    int32_t type_count = read_words(type_text, types, countof(types), wanted_types), state_count = read_words(state_text, states, countof(states), wanted_states);
    if (type_count < 0) return wrong_words(admin, "types", "types", type_text, types, countof(types));
    if (state_count < 0) return wrong_words(admin, "state", "states", state_text, states, countof(states));
    if (!groups_list_all(admin, wanted_states, state_count, wanted_types, type_count, &listing)) return -1;
    if (!with_type && !with_state) {
        for (int32_t i = 0; i < listing.count; i++) printf("%.*s\n", (int)listing.groups[i]->group_id.size, (const char *)listing.groups[i]->group_id.data);
        return 0;
    }
    int widest = 15;
    for (int32_t i = 0; i < listing.count; i++)
        if ((int)listing.groups[i]->group_id.size > widest) widest = (int)listing.groups[i]->group_id.size;
    printf("%-*s", widest + 10, "GROUP");
    if (with_type) printf(" %-20s", "TYPE");
    if (with_state) printf(" %-20s", "STATE");
    putchar('\n');
    for (int32_t i = 0; i < listing.count; i++) {
        const struct list_groups_response_listed_group *group = listing.groups[i];
        printf("%-*.*s", widest + 10, (int)group->group_id.size, (const char *)group->group_id.data);
        if (with_type) printf(" %-20s", type_text_of(group->group_type));
        if (with_state) printf(" %-20s", group->group_state.size ? cell_span(admin_memory(admin), group->group_state) : "Unknown");
        putchar('\n');
    }
    return 0;
}

/* ---- describe --------------------------------------------------------------------------------------------------- */

/* Says what state keeps a group from being told; whether it is told after all. Standard output is flushed before what goes
 * to the other, so that both come in order. */
static bool is_told(const struct group_view *group, int32_t rows) {
    const char *id = (const char *)group->id.data;
    int size = (int)group->id.size;
    fflush(stdout);
    if (span_equal(group->state, SPAN_LITERAL("Dead"))) {
        printf("\nError: Consumer group '%.*s' does not exist.\n", size, id);
        return false;
    }
    if (span_equal(group->state, SPAN_LITERAL("Empty"))) fprintf(stderr, "\nConsumer group '%.*s' has no active members.\n", size, id);
    else if (!span_equal(group->state, SPAN_LITERAL("Stable"))) fprintf(stderr, "\nWarning: Consumer group '%.*s' is rebalancing.\n", size, id);
    return rows > 0;
}

/* Rows of --offsets: of a member's partitions, or of those that nobody has. */
struct offsets { struct admin *admin; struct group_view *group; struct columns table; bool verbose; struct partition_row *committed; int32_t committed_count; };

static const char *number_or_none(struct arena *arena, int64_t number) { return number < 0 ? NULL : cell_text(arena, "%lld", (long long)number); }

static bool add_offsets(struct offsets *offsets, struct partition_row *rows, int32_t count, const struct group_member *member) {
    struct arena *arena = admin_memory(offsets->admin);
    if (!admin_offsets(offsets->admin, rows, count, -1)) return false;
    for (int32_t i = 0; i < count; i++) {
        const struct partition_row *committed = bsearch(&rows[i], offsets->committed, (size_t)offsets->committed_count, sizeof rows[i], partition_compare);
        int64_t offset = committed ? committed->offset : -1, end = rows[i].error ? -1 : rows[i].offset;
        const char *cells[10];
        int n = 0;
        cells[n++] = cell_span(arena, offsets->group->id);
        cells[n++] = cell_span(arena, rows[i].topic);
        cells[n++] = cell_text(arena, "%d", rows[i].index);
        if (offsets->verbose) cells[n++] = number_or_none(arena, committed ? committed->timestamp : -1);
        cells[n++] = number_or_none(arena, offset);
        cells[n++] = number_or_none(arena, end);
        cells[n++] = offset >= 0 && end >= 0 ? cell_text(arena, "%lld", (long long)(end - offset)) : NULL;
        cells[n++] = member ? cell_span(arena, member->id) : NULL;
        cells[n++] = member ? cell_span(arena, member->host) : NULL;
        cells[n++] = member ? cell_span(arena, member->client) : NULL;
        if (!columns_add(&offsets->table, cells)) return admin_fail_memory(offsets->admin);
    }
    return true;
}

static int by_most_assigned(const void *a, const void *b) {
    const struct group_member *left = *(const struct group_member *const *)a, *right = *(const struct group_member *const *)b;
    return left->assigned_count != right->assigned_count ? right->assigned_count - left->assigned_count : (left > right) - (left < right);
}

static bool describe_offsets(struct admin *admin, struct group_view *group, bool verbose) {
    static const struct column plain[] = {{"GROUP", 15, false}, {"TOPIC", 15, false}, {"PARTITION", 10, true}, {"CURRENT-OFFSET", 15, true}, {"LOG-END-OFFSET", 15, true},
                                          {"LAG", 15, true}, {"CONSUMER-ID", 15, false}, {"HOST", 15, false}, {"CLIENT-ID", 0, false}};
    static const struct column detailed[] = {{"GROUP", 15, false}, {"TOPIC", 15, false}, {"PARTITION", 10, true}, {"LEADER-EPOCH", 15, true}, {"CURRENT-OFFSET", 15, true},
                                             {"LOG-END-OFFSET", 15, true}, {"LAG", 15, true}, {"CONSUMER-ID", 15, false}, {"HOST", 15, false}, {"CLIENT-ID", 0, false}};
    struct offsets offsets = {.admin = admin, .group = group, .verbose = verbose};
    if (!groups_committed(admin, group->id, &offsets.committed, &offsets.committed_count)) return false;
    columns_init(&offsets.table, admin_memory(admin), verbose ? detailed : plain, verbose ? countof(detailed) : countof(plain));
    struct group_member **sorted = ARENA_ARRAY(admin_memory(admin), (size_t)group->member_count + 1, struct group_member *);
    struct partition_row *free_rows = ARENA_ARRAY(admin_memory(admin), (size_t)offsets.committed_count + 1, struct partition_row);
    if (!sorted || !free_rows) return admin_fail_memory(admin);
    for (int32_t i = 0; i < group->member_count; i++) sorted[i] = &group->members[i];
    qsort(sorted, (size_t)group->member_count, sizeof *sorted, by_most_assigned);
    for (int32_t i = 0; i < group->member_count; i++)
        if (sorted[i]->assigned_count && !add_offsets(&offsets, sorted[i]->assigned, sorted[i]->assigned_count, sorted[i])) return false;
    int32_t free_count = 0;
    for (int32_t i = 0; i < offsets.committed_count; i++) {
        bool taken = false;
        for (int32_t m = 0; m < group->member_count && !taken; m++)
            taken = group->members[m].assigned_count && bsearch(&offsets.committed[i], group->members[m].assigned, (size_t)group->members[m].assigned_count, sizeof *free_rows, partition_compare);
        if (!taken) free_rows[free_count++] = offsets.committed[i];
    }
    if (!add_offsets(&offsets, free_rows, free_count, NULL)) return false;
    if (!is_told(group, (int32_t)offsets.table.rows)) return true;
    columns_print(&offsets.table, COLUMNS_LED, stdout);
    putchar('\n');
    return true;
}

/* "a:0,1;b:2" */
static const char *assignment_text(struct admin *admin, const struct partition_row *rows, int32_t count) {
    size_t room = 1;
    for (int32_t i = 0; i < count; i++) room += rows[i].topic.size + 13;
    char *bytes = arena_alloc(admin_memory(admin), room);
    struct text text;
    if (!bytes) never("a tool has memory");
    text_init(&text, bytes, room);
    for (int32_t i = 0; i < count; i++) {
        if (i && span_equal(rows[i].topic, rows[i - 1].topic)) text_add(&text, ",%d", rows[i].index);
        else {
            if (i) text_add(&text, ";");
            text_add_span(&text, rows[i].topic);
            text_add(&text, ":%d", rows[i].index);
        }
    }
    return count ? bytes : NULL;
}

static bool describe_members(struct admin *admin, struct group_view *group, bool verbose) {
    struct arena *arena = admin_memory(admin);
    bool with_instance = false, has_classic = false, has_modern = false;
    for (int32_t i = 0; i < group->member_count; i++) {
        with_instance |= group->members[i].instance.size > 0;
        has_classic |= group->members[i].upgraded == 0;
        has_modern |= group->members[i].upgraded == 1;
    }
    struct column columns[COLUMNS_MAX];
    struct columns table;
    uint32_t n = 0;
    columns[n++] = (struct column){"GROUP", 15, false};
    columns[n++] = (struct column){"CONSUMER-ID", 15, false};
    if (with_instance) columns[n++] = (struct column){"GROUP-INSTANCE-ID", 17, false};
    columns[n++] = (struct column){"HOST", 15, false};
    columns[n++] = (struct column){"CLIENT-ID", 15, false};
    columns[n++] = (struct column){"#PARTITIONS", 15, true};
    if (verbose) {
        columns[n++] = (struct column){"CURRENT-EPOCH", 15, true};
        columns[n++] = (struct column){"CURRENT-ASSIGNMENT", 20, false};
        columns[n++] = (struct column){"TARGET-EPOCH", 15, true};
        columns[n++] = (struct column){"TARGET-ASSIGNMENT", 20, false};
        if (has_classic && has_modern) columns[n++] = (struct column){"UPGRADED", 0, false};
    } else columns[n++] = (struct column){"", 0, false}; /* a blank stands behind the last one */
    columns_init(&table, arena, columns, n);
    for (int32_t i = 0; i < group->member_count; i++) {
        const struct group_member *member = &group->members[i];
        const char *cells[COLUMNS_MAX];
        uint32_t c = 0;
        cells[c++] = cell_span(arena, group->id);
        cells[c++] = cell_span(arena, member->id);
        if (with_instance) cells[c++] = cell_span(arena, member->instance);
        cells[c++] = cell_span(arena, member->host);
        cells[c++] = cell_span(arena, member->client);
        cells[c++] = cell_text(arena, "%d", member->assigned_count);
        if (verbose) {
            cells[c++] = number_or_none(arena, member->epoch);
            cells[c++] = assignment_text(admin, member->assigned, member->assigned_count);
            cells[c++] = number_or_none(arena, group->assignment_epoch);
            cells[c++] = assignment_text(admin, member->target, member->target_count);
            if (has_classic && has_modern) cells[c++] = member->upgraded < 0 ? NULL : member->upgraded ? "true" : "false";
        } else cells[c++] = "";
        if (!columns_add(&table, cells)) return admin_fail_memory(admin);
    }
    (void)is_told(group, group->member_count); /* the head is told in any case, as Kafka's tool does */
    columns_print(&table, COLUMNS_LED, stdout);
    putchar('\n');
    return true;
}

static bool describe_state(struct admin *admin, struct group_view *group, bool verbose) {
    static const struct column plain[] = {{"GROUP", 15, false}, {"COORDINATOR (ID)", 25, false}, {"ASSIGNMENT-STRATEGY", 20, true}, {"STATE", 20, true}, {"#MEMBERS", 0, false}};
    static const struct column detailed[] = {{"GROUP", 15, false}, {"COORDINATOR (ID)", 25, false}, {"ASSIGNMENT-STRATEGY", 20, true}, {"STATE", 20, true},
                                             {"GROUP-EPOCH", 15, true}, {"TARGET-ASSIGNMENT-EPOCH", 25, true}, {"#MEMBERS", 0, false}};
    struct arena *arena = admin_memory(admin);
    const struct metadata_response_metadata_response_broker *broker = admin_broker(admin, group->node);
    const char *cells[7];
    struct columns table;
    int n = 0;
    cells[n++] = cell_span(arena, group->id);
    cells[n++] = broker ? cell_text(arena, "%.*s:%d  (%d)", (int)broker->host.size, (const char *)broker->host.data, broker->port, group->node) : cell_text(arena, "%d", group->node);
    cells[n++] = group->assignor.size ? cell_span(arena, group->assignor) : NULL;
    cells[n++] = cell_span(arena, group->state);
    if (verbose) {
        cells[n++] = number_or_none(arena, group->epoch);
        cells[n++] = number_or_none(arena, group->assignment_epoch);
    }
    cells[n++] = cell_text(arena, "%d", group->member_count);
    columns_init(&table, arena, verbose ? detailed : plain, verbose ? countof(detailed) : countof(plain));
    if (!columns_add(&table, cells)) return admin_fail_memory(admin);
    if (!is_told(group, 1)) return true;
    columns_print(&table, COLUMNS_LED, stdout);
    putchar('\n');
    return true;
}

static bool run_describe(struct admin *admin, struct span *ids, int32_t count) {
    bool members = args_has(admin->args, "members"), state = args_has(admin->args, "state"), verbose = args_has(admin->args, "verbose");
    struct group_view *groups = ARENA_ARRAY(admin_memory(admin), (size_t)count + 1, struct group_view);
    if (!groups) return admin_fail_memory(admin);
    qsort(ids, (size_t)count, sizeof *ids, by_text);
    /* All of them first: one that cannot be described ends the tool before anything is told. */
    for (int32_t i = 0; i < count; i++)
        if (!groups_describe(admin, ids[i], &groups[i])) return false;
    for (int32_t i = 0; i < count; i++)
        if (!(members ? describe_members(admin, &groups[i], verbose) : state ? describe_state(admin, &groups[i], verbose) : describe_offsets(admin, &groups[i], verbose))) return false;
    return true;
}

/* ---- delete --------------------------------------------------------------------------------------------------------------------------- */

static bool delete_group(struct admin *admin, struct span id) {
    struct delete_groups_request request;
    struct delete_groups_response response;
    int tries = 0;
    int16_t code;
    delete_groups_request_init(&request);
    request.groups_names = &id;
    request.groups_names_count = 1;
    do {
        if (!admin_call_coordinator(admin, id, API_DELETE_GROUPS, 0, "deleteConsumerGroups", &request, &response)) return false;
        code = response.results_count == 1 ? response.results[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
    } while (admin_again(admin, code, &tries));
    return admin_check(admin, code, response.results_count == 1 ? response.results[0].error_message : (struct span){0});
}

static bool run_delete(struct admin *admin, struct span *ids, int32_t count) {
    bool *gone = ARENA_ARRAY(admin_memory(admin), (size_t)count + 1, bool);
    int32_t failed = 0;
    if (!gone) return admin_fail_memory(admin);
    for (int32_t i = 0; i < count; i++) {
        gone[i] = delete_group(admin, ids[i]);
        if (gone[i]) continue;
        if (failed++ == 0) printf("\nError: Deletion of some consumer groups failed:\n");
        printf("* Group '%.*s' could not be deleted due to: %s\n", (int)ids[i].size, (const char *)ids[i].data, admin_cause(admin));
        admin_forgive(admin);
    }
    if (failed == count && count) return true;
    printf(failed ? "\nThese consumer groups were deleted successfully: " : "Deletion of requested consumer groups (");
    const char *between = "";
    for (int32_t i = 0; i < count; i++) {
        if (!gone[i]) continue;
        printf("%s'%.*s'", between, (int)ids[i].size, (const char *)ids[i].data);
        between = ", ";
    }
    puts(failed ? "" : ") was successful.");
    return true;
}

/* What the partition's part of the answer says; all of them fail with what failed as a whole. */
static bool print_deleted(struct admin *admin, const struct reset_list *list, const char *const *causes) {
    int widest = 15;
    for (int32_t i = 0; i < list->count; i++)
        if ((int)list->rows[i].topic.size > widest) widest = (int)list->rows[i].topic.size;
    printf("\n%-*s %-10s %-15s", widest, "TOPIC", "PARTITION", "STATUS");
    for (int32_t i = 0; i < list->count; i++)
        printf("\n%-*s %-10s %-15s", widest, cell_span(admin_memory(admin), list->rows[i].topic),
               list->rows[i].index < 0 ? "-" : cell_text(admin_memory(admin), "%d", list->rows[i].index),
               causes[i] ? cell_text(admin_memory(admin), "Error: %s", causes[i]) : "Successful");
    putchar('\n');
    return true;
}

static bool send_delete_offsets(struct admin *admin, struct span group, const struct reset_list *list, struct offset_delete_response *response) {
    struct offset_delete_request request;
    offset_delete_request_init(&request);
    request.group_id = group;
    request.topics = offset_delete_request_offset_delete_request_topic_array(admin_memory(admin), list->count);
    struct offset_delete_request_offset_delete_request_partition *places = offset_delete_request_offset_delete_request_partition_array(admin_memory(admin), list->count);
    if (!request.topics || !places) return admin_fail_memory(admin);
    request.topics_count = 0;
    for (int32_t i = 0; i < list->count; i++) {
        if (list->rows[i].index < 0) continue;
        if (request.topics_count == 0 || !span_equal(request.topics[request.topics_count - 1].name, list->rows[i].topic)) {
            request.topics[request.topics_count].name = list->rows[i].topic;
            request.topics[request.topics_count].partitions_count = 0;
            request.topics[request.topics_count++].partitions = places;
        }
        request.topics[request.topics_count - 1].partitions_count++;
        (places++)->partition_index = list->rows[i].index;
    }
    int tries = 0;
    do {
        if (!admin_call_coordinator(admin, group, API_OFFSET_DELETE, 0, "offsetDelete", &request, response)) return false;
    } while (admin_again(admin, response->error_code, &tries));
    return admin_check(admin, response->error_code, (struct span){0});
}

static int16_t deleted_code(const struct offset_delete_response *response, const struct partition_row *row) {
    for (int32_t t = 0; t < response->topics_count; t++)
        for (int32_t p = 0; p < response->topics[t].partitions_count; p++)
            if (response->topics[t].partitions[p].partition_index == row->index && span_equal(response->topics[t].name, row->topic)) return response->topics[t].partitions[p].error_code;
    return KAFKA_UNKNOWN_SERVER_ERROR;
}

/* Answers -1 when `why` tells what went wrong; else the exit status. */
static int run_delete_offsets(struct admin *admin) {
    struct span group = span_text(args_text(admin->args, "group"));
    struct reset_list list = {.arena = admin_memory(admin)};
    struct offset_delete_response response;
    uint32_t at = 0;
    if (!admin_topics(admin, NULL, 0)) return -1;
    for (const char *topic; (topic = args_each(admin->args, "topic", &at));) {
        bool missing = !strchr(topic, ':') && !admin_topic(admin, span_text(topic));
        if (!missing && !reset_parse_topic(admin, topic, &list)) return args_wrong(admin->args, "%s", admin->why.bytes);
        if (!missing) continue;
        char *whole = arena_alloc(admin_memory(admin), strlen(topic) + 4); /* told as partition -1, and nothing is asked about it */
        if (!whole) return admin_fail_memory(admin) ? 0 : -1;
        sprintf(whole, "%s:-1", topic);
        if (!reset_parse_topic(admin, whole, &list)) return -1;
    }
    if (list.count) qsort(list.rows, (size_t)list.count, sizeof *list.rows, partition_compare);
    const char **causes = ARENA_ARRAY(admin_memory(admin), (size_t)list.count + 1, const char *);
    if (!causes) return admin_fail_memory(admin) ? 0 : -1;
    bool sent = send_delete_offsets(admin, group, &list, &response), some_failed = false;
    const char *all = sent ? NULL : cell_text(admin_memory(admin), "%s", admin_cause(admin)), *plain = cell_text(admin_memory(admin), "%s", admin->why.bytes);
    int16_t top = admin->code;
    for (int32_t i = 0; i < list.count; i++) {
        bool missing = list.rows[i].index < 0;
        causes[i] = all;
        if (!missing && !sent) continue;
        admin_forgive(admin);
        if (admin_check(admin, missing ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : deleted_code(&response, &list.rows[i]), (struct span){0})) continue;
        causes[i] = cell_text(admin_memory(admin), "%s", admin_cause(admin));
        some_failed |= !missing;
    }
    admin_forgive(admin);
    if (!sent) {
        bool known = top == KAFKA_INVALID_GROUP_ID || top == KAFKA_GROUP_ID_NOT_FOUND || top == KAFKA_GROUP_AUTHORIZATION_FAILED || top == KAFKA_NON_EMPTY_GROUP;
        if (known) printf("\nError: %s\n", plain);
        else printf("\nError: Encountered some unknown error: %s\n", top ? kafka_error_name(top) : plain);
    } else if (some_failed) printf("\nError: Encountered some partition-level error, see the follow-up details.\n");
    else printf("Request succeeded for deleting offsets from group %s.\n", args_text(admin->args, "group"));
    return print_deleted(admin, &list, causes) ? 0 : -1;
}

/* ---- options ------------------------------------------------------------------------------------------------------------------------------ */

static bool has(const struct args *args, const char *name) { return args_has(args, name); }

static int check_reset(const struct args *args) {
    static const char *const scenarios[] = {"to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "shift-by", "from-file"};
    if (has(args, "dry-run") && has(args, "execute")) return args_wrong(args, "Option [reset-offsets] only accepts one of [execute] and [dry-run]");
    if (!has(args, "dry-run") && !has(args, "execute"))
        fputs("WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either --dry-run or --execute to be "
              "specified. You should add the --dry-run option explicitly if you are scripting this command and want to keep the current default behavior without prompting.\n", stderr);
    if (!has(args, "group") && !has(args, "all-groups")) return args_wrong(args, "Option [reset-offsets] takes one of these options: [group], [all-groups]");
    for (size_t i = 0; i < countof(scenarios); i++)
        for (size_t j = 0; j < countof(scenarios); j++)
            if (i != j && has(args, scenarios[i]) && has(args, scenarios[j])) return args_wrong(args, "Option \"[%s]\" can't be used with option \"[%s]\"", scenarios[i], scenarios[j]);
    return 0;
}

static int check_options(const struct args *args) {
    static const char *const actions[] = {"list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"};
    static const struct { const char *option, *with; } only[] = {
        {"members", "describe"}, {"verbose", "describe"}, {"offsets", "describe"}, {"state", "describe list"}, {"type", "list"}};
    static const struct { const char *option, *not_with; } never_with[] = {{"group", "all-groups"}, {"group", "list"}, {"topic", "list"}, {"topic", "describe"}};
    int count = 0;
    if (args->count + args->word_count == 0) return args_wrong(args, "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.");
    for (size_t i = 0; i < countof(only); i++)
        if (has(args, only[i].option) && !(has(args, "describe") && strstr(only[i].with, "describe")) && !(has(args, "list") && strstr(only[i].with, "list")))
            return args_wrong(args, "Option(s) [%s] are unavailable given other options on the command line", only[i].option);
    if (!has(args, "bootstrap-server") && !has(args, "validate-regex")) return args_wrong(args, "Missing required argument \"[bootstrap-server]\"");
    if (has(args, "describe")) {
        if (!has(args, "group") && !has(args, "all-groups")) return args_wrong(args, "Option [describe] takes one of these options: [all-groups], [group]");
        if (has(args, "members") + has(args, "offsets") + has(args, "state") > 1) return args_wrong(args, "Option [describe] takes at most one of these options: [members], [offsets], [state]");
        if (args_text(args, "state")) return args_wrong(args, "Option [describe] does not take a value for [state]");
    }
    if (has(args, "delete")) {
        if (!has(args, "group") && !has(args, "all-groups")) return args_wrong(args, "Option [delete] takes one of these options: [group], [all-groups]");
        if (has(args, "topic")) return args_wrong(args, "The consumer does not support topic-specific offset deletion from a consumer group.");
    }
    if (has(args, "delete-offsets") && (!has(args, "group") || !has(args, "topic"))) return args_wrong(args, "Option [delete-offsets] takes the following options: [group], [topic]");
    if (has(args, "reset-offsets")) {
        int wrong = check_reset(args);
        if (wrong) return wrong;
    }
    for (size_t i = 0; i < countof(never_with); i++)
        if (has(args, never_with[i].option) && has(args, never_with[i].not_with))
            return args_wrong(args, "Option \"[%s]\" can't be used with option \"[%s]\"", never_with[i].option, never_with[i].not_with);
    for (size_t i = 0; i < countof(actions); i++) count += has(args, actions[i]);
    if (count != 1) return args_wrong(args, "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex");
    return 0;
}

static int validate_regex(const char *pattern) {
    const char *why = names_re2_problem(pattern);
    if (why) printf("The regular expression `%s` is invalid: %s.\n", pattern, why);
    else printf("The regular expression `%s` is valid.\n", pattern);
    return 0;
}

/* Those of --group, or all. */
static bool read_groups(struct admin *admin, struct span **ids, int32_t *count) {
    uint32_t at = 0;
    if (has(admin->args, "all-groups")) return groups_list(admin, ids, count);
    *ids = ARENA_ARRAY(admin_memory(admin), ARGS_MAX, struct span);
    if (!*ids) return admin_fail_memory(admin);
    for (const char *id; (id = args_each(admin->args, "group", &at));) {
        int32_t i = 0;
        while (i < *count && !span_equal((*ids)[i], span_text(id))) i++;
        if (i == *count) (*ids)[(*count)++] = span_text(id);
    }
    return true;
}

static int run(struct admin *admin) {
    struct span *ids = NULL;
    int32_t count = 0;
    const struct args *args = admin->args;
    if (has(args, "list")) return run_list(admin);
    if (has(args, "delete-offsets")) return run_delete_offsets(admin);
    if (!read_groups(admin, &ids, &count)) return -1;
    if (has(args, "reset-offsets")) return groups_reset(admin, ids, count);
    return (has(args, "describe") ? run_describe(admin, ids, count) : run_delete(admin, ids, count)) ? 0 : -1;
}

int groups_run(struct args *args) {
    static struct admin admin;
    int wrong = check_options(args);
    if (wrong) return wrong;
    if (has(args, "validate-regex")) return validate_regex(args_text(args, "validate-regex"));
    int status = -1;
    if (admin_open(&admin, args)) {
        admin.session.timeout_ms = args_number(args, "timeout");
        status = run(&admin);
    }
    /* As Kafka's tool: what went wrong is told, and the exit status is 0 all the same. */
    if (status < 0) printf("\nError: Executing consumer group command failed due to %s\n", admin_cause(&admin));
    admin_close(&admin);
    return status < 0 ? 0 : status;
}
