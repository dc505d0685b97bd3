/* What the tools read from people: a command line, the properties of the console's reader and formatter, and lines. The
 * first byte chooses; words and properties are separated by line ends. */
#include "fuzz.h"
#include "cli/args.h"
#include "cli/record_text.h"
#include <stdlib.h>
#include <string.h>

enum { OUT_BYTES = 1 << 18 };
static struct pool pool;
static FILE *nowhere;

/* The help and what is wrong are said to nobody. */
static void command_line(struct span bytes) {
    static struct args args;
    char *words[64], *copy = malloc(bytes.size + 1);
    int count = 1;
    if (!copy || bytes.size < 1) {
        free(copy);
        return;
    }
    memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = 0;
    const struct tool *tool = &cli_tools[(uint8_t)copy[0] % TOOLS_COUNT];
    char *rest = copy + 1;
    words[0] = copy;
    for (char *word; count < (int)countof(words) - 1 && (word = strsep(&rest, "\n"));) words[count++] = word;
    words[count] = NULL;
    FILE *out = stdout, *err = stderr;
    stdout = stderr = nowhere;
    int answer = args_read(&args, tool, count, words);
    stdout = out;
    stderr = err;
    assert(answer >= 0 && answer <= 2);
    if (answer == 0) {
        for (uint32_t i = 0; i < tool->count; i++) {
            const struct option *option = &tool->options[i];
            if (option->kind == OPTION_INTEGER || option->kind == OPTION_LONG) {
                if (args_text(&args, option->name)) (void)args_number(&args, option->name);
            } else if (args_has(&args, option->name)) {
                uint32_t at = 0;
                while (args_each(&args, option->name, &at)) {}
            }
        }
    }
    free(copy);
}

/* Properties up to an empty line, then lines of records. */
static void records(struct span bytes) {
    char words[512];
    struct text why;
    struct arena arena;
    struct config_values values;
    struct line_reader reader;
    struct record_format format;
    static struct line_record record;
    arena_init(&arena, &pool, 0);
    config_values_init(&values, &arena);
    text_init(&why, words, sizeof words);
    const uint8_t *gap = bytes.size ? memmem(bytes.data, bytes.size, "\n\n", 2) : NULL;
    size_t head = gap ? (size_t)(gap - bytes.data) : bytes.size;
    struct span rest = gap ? span_of(gap + 2, bytes.size - head - 2) : span_of(bytes.data, 0);
    if (config_values_read(&values, span_of(bytes.data, head), &why)) goto out;
    bool reads = line_reader_init(&reader, &values, &why);
    text_reset(&why);
    bool formats = record_format_init(&format, &values, &why);
    for (uint64_t number = 1; number < 20 && rest.size; number++) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        struct span line = span_of(rest.data, end ? (size_t)(end - rest.data) : rest.size);
        rest = end ? span_of(end + 1, rest.size - line.size - 1) : span_of(rest.data, 0);
        text_reset(&why);
        record.header_count = 0;
        record.key = span_of(NULL, 0);
        record.value = line;
        if (reads && !line_parse(&reader, line, number, &record, &why)) continue;
        struct record_view view = {.partition = 1, .offset = 2, .time_kind = (enum record_time)(number % 3), .time = 1000, .key = record.key, .value = record.value,
                                   .headers = record.headers, .header_count = record.header_count};
        text_reset(&why);
        rewind(nowhere);
        if (formats && !record_print(&format, &view, nowhere, &why)) assert(why.size > 0);
    }
out:
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const kinds[])(struct span) = {command_line, records};
    static char out[OUT_BYTES];
    if (!nowhere && !(nowhere = fmemopen(out, sizeof out, "w"))) abort();
    if (!pool.limit) pool_init(&pool, MIB(64), 4);
    rewind(nowhere);
    if (size) kinds[data[0] % countof(kinds)](span_of(data + 1, size - 1));
    assert(atomic_load(&pool.used) == 0);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    static const char *const texts[] = {
        "parse.key=true\nkey.separator=:\nignore.error=false\n\nk:v\nno separator\n:\n",
        "parse.key=true\nparse.headers=true\nnull.marker=NULL\n\nh1:v1,h2:v2\tkey\tvalue\nNULL\tNULL\tNULL\nh\tk\tv\n",
        "print.key=true\nprint.timestamp=true\nprint.headers=true\nprint.partition=true\nprint.offset=true\nprint.epoch=true\nnull.literal=n\n\nvalue\n",
        "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer\nkey.deserializer=org.apache.kafka.common.serialization.IntegerDeserializer\n"
        "parse.key=true\nprint.key=true\n\nabcd\tabcdefgh\nabc\tabc\n",
    };
    char input[1024];
    for (size_t i = 0; i < countof(texts); i++) {
        input[0] = 1;
        memcpy(input + 1, texts[i], strlen(texts[i]));
        add(input, 1 + strlen(texts[i]));
    }
    for (int tool = 0; tool < TOOLS_COUNT; tool++) {
        size_t size = 2;
        input[0] = 0;
        input[1] = (char)tool;
        for (uint32_t i = 0; i < cli_tools[tool].count; i++) {
            const struct option *option = &cli_tools[tool].options[i];
            size_t room = sizeof input - size;
            int n = snprintf(input + size, room, "--%s%s\n", option->name, option->kind == OPTION_FLAG ? "" : i % 2 ? "\n1" : "=1");
            if (n < 0 || (size_t)n >= room) break;
            add(input, size + (size_t)n - 1);
            if (i % 3) size += (size_t)n;
        }
        add(input, size);
    }
}
