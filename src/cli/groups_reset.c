/* cli/groups_reset.c - kafka-consumer-groups.sh --reset-offsets.
 *
 * A plan is a list of (group, partition, offset). It is made for one group after the other, told as a table or as CSV, and
 * with --execute committed before it is told. A file for --from-file has lines of topic,partition,offset for one group, or
 * of group,topic,partition,offset.
 */
#include "cli/columns.h"
#include "cli/groups.h"
#include "io/io.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { PLAN_BYTES_MAX = 64 << 20, CSV_FIELDS_MAX = 4, CSV_PLAIN_MAX = 24, LATEST = -1, EARLIEST = -2 };
#define DAY_MS 86400000LL

struct reset {
    struct admin *admin;
    struct reset_row *plan;
    int32_t count, capacity;
    struct span file;             /* of --from-file */
};

/* ---- texts ---------------------------------------------------------------------------------------------------------------- */

static bool digits(const char **at, int count, int *out) {
    for (*out = 0; count-- > 0; (*at)++) {
        if (!isdigit((unsigned char)**at)) return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

static bool number(const char **at, int *out) {
    const char *start = *at;
    for (*out = 0; isdigit((unsigned char)**at) && *at - start < 9; (*at)++) *out = *out * 10 + (**at - '0');
    return *at > start;
}

static bool expect(const char **at, char c) { return **at == c ? (*at)++, true : false; }

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t days_to(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_days(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/* The zone behind the time: Z, +hh, +hhmm or +hh:mm; none is UTC. */
static bool zone(const char **at, int *minutes) {
    int hours = 0, rest = 0;
    *minutes = 0;
    if (!**at || expect(at, 'Z')) return true;
    int sign = **at == '-' ? -1 : 1;
    if (!expect(at, '+') && !expect(at, '-')) return false;
    if (!digits(at, 2, &hours)) return false;
    if (**at && ((void)expect(at, ':'), !digits(at, 2, &rest))) return false;
    *minutes = sign * (hours * 60 + rest);
    return hours < 24 && rest < 60;
}

bool reset_parse_datetime(struct admin *admin, const char *text, time_ms *out) {
    int year, month, day, hour, minute, second, milli, offset;
    const char *at = text;
    if (!strchr(text, 'T') || !strchr(text, 'T')[1])
        return admin_fail(admin, NULL, "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format");
    if (!number(&at, &year) || !expect(&at, '-') || !number(&at, &month) || !expect(&at, '-') || !number(&at, &day) || !expect(&at, 'T') ||
        !number(&at, &hour) || !expect(&at, ':') || !number(&at, &minute) || !expect(&at, ':') || !number(&at, &second) || !expect(&at, '.') ||
        !number(&at, &milli) || !zone(&at, &offset) || *at || month < 1 || month > 12 || day < 1 || day > month_days(year, month) || hour > 23 || minute > 59 ||
        second > 59 || milli > 999)
        return admin_fail(admin, NULL, "java.text.ParseException: Unparseable date: \"%s%s\"", text, strpbrk(strchr(text, 'T'), "Z+-") ? "" : "Z");
    *out = days_to(year, month, day) * DAY_MS + (hour * 60LL + minute - offset) * 60000 + second * 1000LL + milli;
    return true;
}

/* A part of a duration, "[-+]digits" before the letter; false: it is another one, or the number is too large. */
static bool duration_part(const char **at, char letter, int64_t unit_ms, int sign, int64_t *sum, bool *any) {
    char *end;
    const char *from = *at + (**at == '-' || **at == '+');
    if (!isdigit((unsigned char)*from)) return true;
    long long value = strtoll(*at, &end, 10);
    int64_t fraction = 0;
    if (letter == 'S' && (*end == '.' || *end == ',')) {
        int64_t place = 100;
        for (end++; isdigit((unsigned char)*end); end++, place /= 10) fraction += place * (*end - '0');
        if (**at == '-') fraction = -fraction;
    }
    if (toupper((unsigned char)*end) != letter) return true;
    int64_t product;
    if (__builtin_mul_overflow((int64_t)value, unit_ms, &product) || __builtin_add_overflow(*sum, sign * (product + fraction), sum)) return false;
    *at = end + 1;
    *any = true;
    return true;
}

bool reset_parse_duration(struct admin *admin, const char *text, int64_t *ms) {
    const char *at = text;
    int sign = *at == '-' ? -1 : 1;
    bool any = false, any_time = false, ok;
    *ms = 0;
    if (*at == '-' || *at == '+') at++;
    ok = toupper((unsigned char)*at) == 'P';
    if (ok) at++;
    ok = ok && duration_part(&at, 'D', DAY_MS, sign, ms, &any);
    if (ok && toupper((unsigned char)*at) == 'T') {
        at++;
        ok = duration_part(&at, 'H', 3600000, sign, ms, &any_time) && duration_part(&at, 'M', 60000, sign, ms, &any_time) &&
             duration_part(&at, 'S', 1000, sign, ms, &any_time) && any_time;
    }
    if (ok && !*at && (any || any_time)) return true;
    return admin_fail(admin, NULL, "Text cannot be parsed to a Duration");
}

static bool list_add(struct reset_list *list, struct span topic, int32_t index) {
    for (int32_t i = 0; i < list->count; i++)
        if (list->rows[i].index == index && span_equal(list->rows[i].topic, topic)) return true;
    if (list->count == list->capacity) {
        int32_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct partition_row *grown = ARENA_ARRAY(list->arena, capacity, struct partition_row);
        if (!grown) return false;
        if (list->count) memcpy(grown, list->rows, (size_t)list->count * sizeof *grown);
        list->rows = grown;
        list->capacity = capacity;
    }
    list->rows[list->count++] = (struct partition_row){.topic = topic, .index = index, .offset = -1};
    return true;
}

bool reset_parse_topic(struct admin *admin, const char *text, struct reset_list *out) {
    const char *colon = strchr(text, ':');
    if (!colon) {
        const struct metadata_response_metadata_response_topic *topic = admin_topic(admin, span_text(text));
        if (!topic) return admin_check(admin, KAFKA_UNKNOWN_TOPIC_OR_PARTITION, (struct span){0});
        for (int32_t i = 0; i < topic->partitions_count; i++)
            if (!list_add(out, topic->name, topic->partitions[i].partition_index)) return admin_fail_memory(admin);
        return true;
    }
    if (!colon[1] || strchr(colon + 1, ':')) return admin_fail(admin, NULL, "Invalid topic arg '%s', expected topic name and partitions", text);
    for (const char *at = colon + 1;;) {
        size_t size = strcspn(at, ",");
        char *end;
        long index = strtol(at, &end, 10);
        if (end == at || (size_t)(end - at) != size || index > INT32_MAX || index < INT32_MIN || isspace((unsigned char)*at))
            return admin_fail(admin, NULL, "Invalid partition '%.*s' specified in topic arg '%s''", (int)size, at, text);
        if (!list_add(out, span_of(text, (size_t)(colon - text)), (int32_t)index)) return admin_fail_memory(admin);
        if (!at[size]) return true;
        at += size + 1;
    }
}

/* ---- CSV ------------------------------------------------------------------------------------------------------------------- */

/* The fields of a line, quoted or not; in place. Answers how many, 0: not as it should be. */
static int csv_fields(char *line, char *fields[CSV_FIELDS_MAX]) {
    int count = 0;
    for (char *at = line;;) {
        if (count == CSV_FIELDS_MAX) return 0;
        char *to = at;
        bool quoted = *at == '"';
        fields[count++] = at;
        if (quoted) {
            for (at++; *at && !(*at == '"' && at[1] != '"'); at++) {
                if (*at == '"') at++;
                *to++ = *at;
            }
            if (!*at) return 0;
            at++;
        } else
            while (*at && *at != ',') *to++ = *at++;
        char next = *at;
        if (next && next != ',') return 0;
        *to = 0;
        if (!next) return count;
        at++;
    }
}

static void print_csv_text(struct span text) {
    bool plain = text.size <= CSV_PLAIN_MAX;
    for (size_t i = 0; i < text.size; i++) plain &= text.data[i] > ',';
    if (!plain) putchar('"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"') putchar('"');
        putchar(text.data[i]);
    }
    if (!plain) putchar('"');
}

static bool csv_number(const char *text, int64_t max, int64_t *out) {
    char *end;
    long long value = strtoll(text, &end, 10);
    *out = value;
    while (*end == ' ' || *end == '\r') end++;
    return end != text && !*end && value <= max;
}

/* The group's part of the file. Lines without a group are for the only one that is asked for. A file with a line that is
 * none is no plan at all, as in Kafka's tool; here it is told which. */
static bool read_plan(struct reset *reset, struct span group, struct reset_list *out, bool *found) {
    char *text = arena_alloc(reset->admin->session.config.arena, reset->file.size + 1);
    uint32_t groups = 0, at = 0;
    while (args_each(reset->admin->args, "group", &at)) groups++;
    bool one_group = groups == 1;
    if (!text) return admin_fail_memory(reset->admin);
    if (reset->file.size) memcpy(text, reset->file.data, reset->file.size);
    text[reset->file.size] = 0;
    for (char *line = text, *next; line && *line; line = next) {
        char *fields[CSV_FIELDS_MAX];
        int64_t index, offset;
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        if (!*line || strcmp(line, "\r") == 0) continue;
        char *copy = arena_copy(reset->admin->session.config.arena, line, strlen(line) + 1);
        int count = csv_fields(line, fields), first = count - 3;
        if (count < (one_group ? 3 : 4) || !csv_number(fields[first + 1], INT32_MAX, &index) || !csv_number(fields[first + 2], INT64_MAX, &offset)) {
            fprintf(stderr, "%s: a line of %stopic,partition,offset is wanted, and this is none: %s\n", args_text(reset->admin->args, "from-file"), one_group && count != 4 ? "" : "group,", copy ? copy : "");
            out->count = 0;
            *found = false;
            return true;
        }
        if (count == 4 && !span_equal(span_text(fields[0]), group)) continue;
        if (!list_add(out, span_text(fields[first]), (int32_t)index)) return admin_fail_memory(reset->admin);
        out->rows[out->count - 1].offset = offset;
        *found = true;
    }
    return true;
}

static bool read_file(struct reset *reset, const char *path) {
    struct io_files files = io_files_real();
    struct io_file *file = NULL;
    int error = files.vtable->open(files.self, &file, path, IO_READ);
    int64_t size = error ? -1 : files.vtable->size(files.self, file), got = -1;
    uint8_t *bytes = NULL;
    if (size >= 0 && size <= PLAN_BYTES_MAX && (bytes = arena_alloc(admin_memory(reset->admin), (size_t)size + 1))) got = files.vtable->read(files.self, file, bytes, (size_t)size, 0);
    if (file) io_file_drop(file);
    if (error || got != size) return admin_fail(reset->admin, NULL, "java.io.IOException: Unable to read file %s", path);
    reset->file = span_of(bytes, (size_t)size);
    return true;
}

/* ---- which offsets ------------------------------------------------------------------------------------------------------------ */

static const char *told(struct admin *admin, const struct partition_row *row) {
    return cell_text(admin_memory(admin), "%.*s-%d", (int)row->topic.size, (const char *)row->topic.data, row->index);
}

static bool check_valid(struct admin *admin, struct partition_row *rows, int32_t count) {
    static const struct { int16_t code; const char *exception, *what; } problems[] = {
        {KAFKA_UNKNOWN_TOPIC_OR_PARTITION, "UnknownTopicOrPartitionException", "do not exist"}, {KAFKA_LEADER_NOT_AVAILABLE, "LeaderNotAvailableException", "have no leader"}};
    if (count && !admin_topics(admin, NULL, 0)) return false;
    if (count) qsort(rows, (size_t)count, sizeof *rows, partition_compare);
    admin_leaders(admin, rows, count);
    for (int32_t i = 0; i < count; i++)
        if (!admin_topic(admin, rows[i].topic)) return admin_check(admin, KAFKA_UNKNOWN_TOPIC_OR_PARTITION, (struct span){0});
    for (size_t k = 0; k < countof(problems); k++) {
        char list[ADMIN_WHY_MAX / 2];
        struct text text;
        text_init(&text, list, sizeof list);
        for (int32_t i = 0; i < count; i++)
            if (rows[i].error == problems[k].code) text_add(&text, text.size ? ",%s" : "%s", told(admin, &rows[i]));
        if (text.size) return admin_fail(admin, problems[k].exception, "The partitions \"%s\" %s", list, problems[k].what);
    }
    return true;
}

/* One partition's error is all partitions'. */
static bool offsets_at(struct admin *admin, struct partition_row *rows, int32_t count, int64_t timestamp) {
    if (!admin_offsets(admin, rows, count, timestamp)) return false;
    for (int32_t i = 0; i < count; i++) {
        if (!rows[i].error) continue;
        struct span name = rows[i].topic;
        if (rows[i].error == KAFKA_UNKNOWN_TOPIC_OR_PARTITION)
            return admin_fail(admin, NULL, "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Failed to fetch metadata for partition %s "
                              "because metadata for topic `%.*s` could not be found", told(admin, &rows[i]), (int)name.size, (const char *)name.data);
        if (admin_check(admin, rows[i].error, (struct span){0})) continue;
        const char *cause = cell_text(admin_memory(admin), "%s", admin_cause(admin));
        admin_forgive(admin);
        return admin_fail(admin, NULL, "java.util.concurrent.ExecutionException: %s", cause);
    }
    return true;
}

static struct partition_row *copied(struct admin *admin, const struct partition_row *rows, int32_t count) {
    struct partition_row *copy = ARENA_ARRAY(admin_memory(admin), (size_t)count + 1, struct partition_row);
    if (copy && count) memcpy(copy, rows, (size_t)count * sizeof *rows);
    return copy;
}

/* What is asked for, kept between the log's ends. */
static bool keep_in_range(struct admin *admin, struct partition_row *rows, int32_t count) {
    struct partition_row *ends = copied(admin, rows, count), *starts = copied(admin, rows, count);
    if (!ends || !starts) return admin_fail_memory(admin);
    if (count) qsort(rows, (size_t)count, sizeof *rows, partition_compare);
    if (!offsets_at(admin, ends, count, LATEST) || !offsets_at(admin, starts, count, EARLIEST)) return false;
    for (int32_t i = 0; i < count; i++) {
        bool high = rows[i].offset > ends[i].offset, low = !high && rows[i].offset < starts[i].offset;
        if (!high && !low) continue;
        int64_t to = high ? ends[i].offset : starts[i].offset;
        fprintf(stderr, "WARN New offset (%lld) is %s offset for topic partition %s. Value will be set to %lld\n", (long long)rows[i].offset,
                high ? "higher than latest" : "lower than earliest", told(admin, &rows[i]), (long long)to);
        rows[i].offset = to;
    }
    return true;
}

static bool at_timestamp(struct admin *admin, struct partition_row *rows, int32_t count, time_ms timestamp) {
    if (!offsets_at(admin, rows, count, timestamp)) return false;
    struct partition_row *late = copied(admin, rows, count);
    int32_t n = 0;
    if (!late) return admin_fail_memory(admin);
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].offset >= 0) continue;
        printf("\nWarn: Partition %d from topic %.*s is empty. Falling back to latest known offset.\n", rows[i].index, (int)rows[i].topic.size, (const char *)rows[i].topic.data);
        late[n++] = rows[i];
    }
    if (!offsets_at(admin, late, n, LATEST)) return false;
    for (int32_t i = 0, k = 0; i < count && k < n; i++)
        if (rows[i].offset < 0) rows[i].offset = late[k++].offset;
    return true;
}

/* By what was committed: moved by some, or as it is; where nothing was committed, the end stands for it. */
static bool by_committed(struct admin *admin, struct span group, struct partition_row *rows, int32_t count, bool shift) {
    struct partition_row *committed, *without = copied(admin, rows, count);
    int32_t committed_count, n = 0;
    if (!without) return admin_fail_memory(admin);
    if (!groups_committed(admin, group, &committed, &committed_count)) return false;
    for (int32_t i = 0; i < count; i++) {
        const struct partition_row *found = bsearch(&rows[i], committed, (size_t)committed_count, sizeof *committed, partition_compare);
        rows[i].offset = found ? found->offset : -1;
        if (rows[i].offset < 0) without[n++] = rows[i];
        else if (shift) rows[i].offset += args_number(admin->args, "shift-by");
    }
    if (shift && n) return admin_fail(admin, "IllegalArgumentException", "Cannot shift offset for partition %s since there is no current committed offset", told(admin, &without[0]));
    if (shift) return keep_in_range(admin, rows, count);
    if (!offsets_at(admin, without, n, LATEST)) return false;
    for (int32_t i = 0, k = 0; i < count && k < n; i++)
        if (rows[i].offset < 0) rows[i].offset = without[k++].offset;
    return true;
}

static time_ms now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (time_ms)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool find_offsets(struct reset *reset, struct span group, struct reset_list *list) {
    struct admin *admin = reset->admin;
    const struct args *args = admin->args;
    struct partition_row *rows = list->rows;
    int32_t count = list->count;
    if (args_has(args, "to-offset")) {
        for (int32_t i = 0; i < count; i++) rows[i].offset = args_number(args, "to-offset");
        return keep_in_range(admin, rows, count);
    }
    if (args_has(args, "to-earliest")) return offsets_at(admin, rows, count, EARLIEST);
    if (args_has(args, "to-latest")) return offsets_at(admin, rows, count, LATEST);
    if (args_has(args, "shift-by") || args_has(args, "to-current")) return by_committed(admin, group, rows, count, args_has(args, "shift-by"));
    if (args_has(args, "to-datetime")) {
        time_ms at;
        return reset_parse_datetime(admin, args_text(args, "to-datetime"), &at) && at_timestamp(admin, rows, count, at);
    }
    if (args_has(args, "by-duration")) {
        int64_t back;
        return reset_parse_duration(admin, args_text(args, "by-duration"), &back) && at_timestamp(admin, rows, count, now_ms() - back);
    }
    bool found = false;
    if (!read_plan(reset, group, list, &found)) return false;
    if (!found) printf("\nError: No reset plan for group %.*s found\n", (int)group.size, (const char *)group.data);
    return keep_in_range(admin, list->rows, list->count);
}

/* ---- a group --------------------------------------------------------------------------------------------------------------------- */

static bool commit(struct admin *admin, struct span group, const struct partition_row *rows, int32_t count) {
    struct offset_commit_request request;
    struct offset_commit_response response;
    struct offset_commit_request_offset_commit_request_partition *places = offset_commit_request_offset_commit_request_partition_array(admin_memory(admin), count);
    int tries = 0;
    int16_t code;
    offset_commit_request_init(&request);
    request.group_id = group;
    request.topics = offset_commit_request_offset_commit_request_topic_array(admin_memory(admin), count);
    if (!places || !request.topics) return admin_fail_memory(admin);
    request.topics_count = 0;
    for (int32_t i = 0; i < count; i++) {
        if (i == 0 || !span_equal(rows[i].topic, rows[i - 1].topic)) {
            request.topics[request.topics_count].name = rows[i].topic;
            request.topics[request.topics_count].partitions_count = 0;
            request.topics[request.topics_count++].partitions = places;
        }
        request.topics[request.topics_count - 1].partitions_count++;
        places->partition_index = rows[i].index;
        places->committed_offset = rows[i].offset;
        (places++)->committed_metadata = SPAN_LITERAL("");
    }
    if (count == 0) return true;
    do {
        code = KAFKA_NONE;
        /* 9: later ones tell topics by their ids. */
        if (!admin_call_coordinator(admin, group, API_OFFSET_COMMIT, 9, "offsetCommit", &request, &response)) return false;
        for (int32_t t = 0; t < response.topics_count; t++)
            for (int32_t p = 0; p < response.topics[t].partitions_count; p++)
                if (response.topics[t].partitions[p].error_code) code = response.topics[t].partitions[p].error_code;
    } while (admin_again(admin, code, &tries));
    return admin_check(admin, code, (struct span){0});
}

static bool plan_add(struct reset *reset, struct span group, const struct reset_list *list) {
    if (reset->count + list->count > reset->capacity) {
        int32_t capacity = (reset->count + list->count) * 2;
        struct reset_row *grown = ARENA_ARRAY(admin_memory(reset->admin), capacity, struct reset_row);
        if (!grown) return admin_fail_memory(reset->admin);
        if (reset->count) memcpy(grown, reset->plan, (size_t)reset->count * sizeof *grown);
        reset->plan = grown;
        reset->capacity = capacity;
    }
    for (int32_t i = 0; i < list->count; i++) reset->plan[reset->count++] = (struct reset_row){group, list->rows[i]};
    return true;
}

/* Whether nobody reads in the group now; a group that is not there yet may get offsets, too. */
static bool is_inactive(struct admin *admin, struct span group, bool *inactive) {
    struct group_view view;
    *inactive = true;
    if (!groups_describe(admin, group, &view)) {
        if (admin->code != KAFKA_GROUP_ID_NOT_FOUND) return false;
        admin_forgive(admin);
        return true;
    }
    *inactive = span_equal(view.state, SPAN_LITERAL("Empty")) || span_equal(view.state, SPAN_LITERAL("Dead"));
    if (!*inactive)
        printf("\nError: Assignments can only be reset if the group '%.*s' is inactive, but the current state is %.*s.\n", (int)group.size, (const char *)group.data,
               (int)view.state.size, (const char *)view.state.data);
    return true;
}

static int reset_group(struct reset *reset, struct span group) {
    struct admin *admin = reset->admin;
    struct reset_list list = {.arena = admin_memory(admin)};
    bool inactive;
    uint32_t at = 0;
    if (!is_inactive(admin, group, &inactive)) return -1;
    if (!inactive) return 0;
    if (args_has(admin->args, "all-topics")) {
        if (!groups_committed(admin, group, &list.rows, &list.count)) return -1;
        list.capacity = list.count;
    } else if (args_has(admin->args, "topic")) {
        if (!admin_topics(admin, NULL, 0)) return -1;
        for (const char *topic; (topic = args_each(admin->args, "topic", &at));)
            if (!reset_parse_topic(admin, topic, &list)) return strchr(topic, ':') ? args_wrong(admin->args, "%s", admin->why.bytes) : -1;
    } else if (!reset->file.data) return args_wrong(admin->args, "One of the reset scopes should be defined: --all-topics, --topic.");
    if (!check_valid(admin, list.rows, list.count)) return -1;
    if (!find_offsets(reset, group, &list)) {
        bool by_words = admin->exception && strcmp(admin->exception, "IllegalArgumentException") == 0;
        return by_words ? args_wrong(admin->args, "%s", admin->why.bytes) : -1;
    }
    if (args_has(admin->args, "execute") && !commit(admin, group, list.rows, list.count)) return -1;
    return plan_add(reset, group, &list) ? 0 : -1;
}

static void print_plan(const struct reset *reset, bool any_group) {
    static const struct column columns[] = {{"GROUP", 15, false}, {"TOPIC", 15, false}, {"PARTITION", 10, true}, {"NEW-OFFSET", 0, false}};
    struct arena *arena = admin_memory(reset->admin);
    struct columns table;
    columns_init(&table, arena, columns, countof(columns));
    for (int32_t i = 0; i < reset->count; i++) {
        const struct reset_row *row = &reset->plan[i];
        const char *cells[] = {cell_span(arena, row->group), cell_span(arena, row->partition.topic), cell_text(arena, "%d", row->partition.index), cell_text(arena, "%lld", (long long)row->partition.offset)};
        if (!columns_add(&table, cells)) never("a tool has memory");
    }
    if (any_group) columns_print(&table, COLUMNS_LED, stdout); /* the head alone, where no group had anything */
    putchar('\n');
}

static void print_csv(const struct reset *reset, bool with_group) {
    for (int32_t i = 0; i < reset->count; i++) {
        if (with_group) {
            print_csv_text(reset->plan[i].group);
            putchar(',');
        }
        print_csv_text(reset->plan[i].partition.topic);
        printf(",%d,%lld\n", reset->plan[i].partition.index, (long long)reset->plan[i].partition.offset);
    }
    putchar('\n');
}

int groups_reset(struct admin *admin, struct span *ids, int32_t count) {
    static const char *const scenarios[] = {"to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "shift-by", "from-file"};
    struct reset reset = {.admin = admin};
    bool any = false;
    uint32_t at = 0;
    for (size_t i = 0; i < countof(scenarios); i++) any |= args_has(admin->args, scenarios[i]);
    if (args_has(admin->args, "from-file") && !read_file(&reset, args_text(admin->args, "from-file"))) return -1;
    if (!any && (args_has(admin->args, "topic") || args_has(admin->args, "all-topics")))
        return args_wrong(admin->args, "Option '[reset-offsets]' requires one of the following scenarios: [[to-current], [to-earliest], [to-offset], [shift-by], [from-file], [to-datetime], [by-duration], [to-latest]]");
    for (int32_t i = 0; i < count; i++) {
        int status = reset_group(&reset, ids[i]);
        if (status < 0) admin->exception = NULL; /* Kafka's tool tells the sentence alone */
        if (status) return status;
    }
    uint32_t groups = 0;
    while (args_each(admin->args, "group", &at)) groups++;
    if (args_has(admin->args, "export")) print_csv(&reset, groups != 1);
    else print_plan(&reset, count > 0);
    return 0;
}
