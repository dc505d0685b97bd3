#include "server/config_doc.h"
#include "meta/meta.h"
#include <math.h>
#include <string.h>

static const char *type_text(enum config_type type) {
    switch (type) {
    case CONFIG_TYPE_BOOLEAN: return "boolean";
    case CONFIG_TYPE_STRING: return "string";
    case CONFIG_TYPE_INT: return "int";
    case CONFIG_TYPE_SHORT: return "short";
    case CONFIG_TYPE_LONG: return "long";
    case CONFIG_TYPE_DOUBLE: return "double";
    case CONFIG_TYPE_LIST: return "list";
    case CONFIG_TYPE_CLASS: return "class";
    case CONFIG_TYPE_PASSWORD: return "password";
    }
    never("a type of config that is not in the list");
}

/* In a table's cell: a '|' would end it. */
static void cell(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text, out);
    }
}

/* "a, b, c" of "a,b,c". */
static void list(FILE *out, const char *text) {
    for (; *text; text++) fputs(*text == ',' ? ", " : (char[]){*text, 0}, out);
}

static void valid(FILE *out, const struct config_key *key) {
    switch (key->check) {
    case CHECK_ANY: return;
    case CHECK_RANGE:
        if (isinf(key->high)) fprintf(out, "from %.10g up", key->low);
        else fprintf(out, "%.10g to %.10g", key->low, key->high);
        if (key->also < key->low || key->also > key->high) fprintf(out, ", or %.10g", key->also);
        return;
    case CHECK_ONE_OF: case CHECK_ONE_OF_ANY_CASE: list(out, key->allowed); return;
    case CHECK_LIST_OF: case CHECK_SOME_OF: fputs(key->check == CHECK_LIST_OF ? "any of " : "some of ", out); list(out, key->allowed); return;
    case CHECK_NOT_NULL: fputs("not null", out); return;
    case CHECK_NOT_EMPTY: fputs("not empty", out); return;
    case CHECK_THROTTLED: fputs("`*`, or partition:broker, ...", out); return;
    case CHECK_SERVERS: fputs("host:port, ...", out); return;
    case CHECK_VOTERS: fputs("id@host:port, ...", out); return;
    case CHECK_OFFSET_RESET: fputs("latest, earliest, by_duration:PT1H", out); return;
    }
    never("a check of config that is not in the list");
}

static const char *mode(const struct config_key *key) {
    if (key->scope != SCOPE_BROKER) return "yes";
    if (key->mode == CONFIG_READ_ONLY) return "at the start only";
    return config_is_for_one_broker(key) ? "for one broker" : "yes";
}

static void row(FILE *out, const struct config_key *key) {
    struct span value = config_default(key);
    fprintf(out, "| `%s` | %s | ", key->name, type_text(key->type));
    if (config_is_required(key)) fputs("(required)", out);
    else if (!value.data) fputs("null", out);
    else if (value.size == 0) fputs("(empty)", out);
    else cell(out, key->default_text);
    fputs(" | ", out);
    valid(out, key);
    fprintf(out, " | %s | ", mode(key));
    cell(out, key->doc);
    if (key->synonyms) {
        struct span rest = span_text(key->synonyms), one;
        for (const char *before = " Where it is not set: "; config_list_next(&rest, &one); before = ", then ") {
            const uint8_t *star = memchr(one.data, '*', one.size);
            fprintf(out, "%s`%.*s`", before, (int)(star ? (size_t)(star - one.data) : one.size), (const char *)one.data);
        }
        fputc('.', out);
    }
    if (key->no_effect) fputs(" **Without effect.**", out);
    if (key->not_served) fputs(" **Not served yet.**", out);
    fputs(" |\n", out);
}

static void section(FILE *out, enum config_scope scope, const char *title, const char *words) {
    fprintf(out, "\n## %s\n\n%s\n\n| key | type | default | valid | changes while it runs | what it does |\n|--|--|--|--|--|--|\n", title, words);
    for (const struct config_key *key = NULL; (key = config_next(scope, key));)
        if (!key->internal) row(out, key);
}

void config_doc_print(FILE *out) {
    fputs("# Configuration\n\n"
          "Every key that Moldau knows: Apache Kafka's, with Kafka's types, defaults and ranges, and its own (`moldau.*`, `io.backend`).\n"
          "This page is printed by `moldau config doc` from the table in `src/meta/config.tbl`.\n"
          "`moldau config check FILE` says what a file means, what in it has no effect, and what clients will be told.\n", out);
    section(out, SCOPE_BROKER, "Nodes", "In `server.properties`, by `--override key=value`, and where the fifth column says so by `kafka-configs.sh --entity-type brokers`.");
    section(out, SCOPE_TOPIC, "Topics", "Set at creation, or by `kafka-configs.sh --entity-type topics`. They take effect at once.");
    section(out, SCOPE_GROUP, "Groups", "Set by `kafka-configs.sh --entity-type groups`.");
    section(out, SCOPE_CLIENT_METRICS, "Client metrics", "Set by `kafka-configs.sh --entity-type client-metrics`.");
}
