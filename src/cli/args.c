#include "cli/args.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 41, HELP_WIDTH = 80 };

/* A verb takes its tool's options, too. */
static const struct option *find(const struct tool *tool, const char *name, size_t size) {
    for (uint32_t i = 0; i < tool->count; i++)
        if (strlen(tool->options[i].name) == size && memcmp(tool->options[i].name, name, size) == 0) return &tool->options[i];
    return tool->parent < 0 ? NULL : find(&cli_tools[tool->parent], name, size);
}

static const struct option *find_letter(const struct tool *tool, char letter) {
    for (uint32_t i = 0; i < tool->count; i++)
        if (tool->options[i].letter == letter) return &tool->options[i];
    return tool->parent < 0 ? NULL : find_letter(&cli_tools[tool->parent], letter);
}

/* Behind the options before it that belong to the tool as a whole. */
int args_find_verb(const struct tool *tool, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-') return i;
        const struct option *option = argv[i][1] == '-' ? find(tool, argv[i] + 2, strcspn(argv[i] + 2, "=")) : find_letter(tool, argv[i][1]);
        if (option && option->kind != OPTION_FLAG && !strchr(argv[i], '=')) i++;
    }
    return argc;
}

/* Words of the help, folded into the right column. */
static void fold(FILE *out, const char *text, int column, int indent) {
    while (*text) {
        const char *end = strchr(text, ' ');
        int size = (int)(end ? (size_t)(end - text) : strlen(text));
        if (column + size > HELP_WIDTH && column > indent) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        }
        fprintf(out, "%.*s", size, text);
        column += size;
        text += size;
        while (*text == ' ') text++;
        if (*text) {
            fputc(' ', out);
            column++;
        }
    }
    fputc('\n', out);
}

static void options_help(const struct tool *tool, FILE *out) {
    fprintf(out, "%-*s%s\n%-*s%s\n", HELP_COLUMN, "Option", "Description", HELP_COLUMN, "------", "-----------");
    for (uint32_t i = 0; i < tool->count; i++) {
        const struct option *option = &tool->options[i];
        char left[256], right[1024];
        static const char *const kinds[] = {"", "String", "String", "String", "Integer", "Long"};
        char letter[8] = "";
        if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
        if (option->kind == OPTION_FLAG) snprintf(left, sizeof left, "%s--%s", letter, option->name);
        else if (!option->argument[0]) snprintf(left, sizeof left, option->kind == OPTION_MAYBE ? "%s--%s [%s]" : "%s--%s <%s>", letter, option->name, kinds[option->kind]);
        else snprintf(left, sizeof left, option->kind == OPTION_MAYBE ? "%s--%s [%s: %s]" : "%s--%s <%s: %s>", letter, option->name, kinds[option->kind], option->argument);
        if (option->preset) snprintf(right, sizeof right, "%s (default: %s)", option->help, option->preset);
        else snprintf(right, sizeof right, "%s", option->help);
        if ((int)strlen(left) >= HELP_COLUMN - 1) fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
        else fprintf(out, "%-*s", HELP_COLUMN, left);
        fold(out, right, HELP_COLUMN, HELP_COLUMN + 2);
    }
}

void args_help(const struct tool *tool, FILE *out) {
    fprintf(out, "%s\n", tool->about);
    options_help(tool, out);
}

int args_wrong(const struct args *args, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    options_help(args->tool, stderr);
    return 1;
}

static bool is_number(const char *text, enum option_kind kind) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end != text && !*end && !errno && (kind == OPTION_LONG || (value >= INT32_MIN && value <= INT32_MAX));
}

int args_read(struct args *args, const struct tool *tool, int argc, char **argv) {
    memset(args, 0, sizeof *args);
    args->tool = tool;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        const struct option *by_letter = NULL;
        if (word[0] != '-' || !word[1] || word[1] != '-') {
            if (word[0] == '-' && word[1] && !word[2]) by_letter = find_letter(tool, word[1]);
            if (word[0] == '-' && word[1] && !by_letter) return args_wrong(args, "%s is not a recognized option", word + 1);
            if (!by_letter) {
                if (args->word_count == ARGS_MAX) return args_wrong(args, "too many words");
                args->words[args->word_count++] = word;
                continue;
            }
        }
        const char *name = by_letter ? by_letter->name : word + 2, *equals = by_letter ? NULL : strchr(name, '=');
        size_t size = equals ? (size_t)(equals - name) : strlen(name);
        if (size == 4 && memcmp(name, "help", 4) == 0) {
            args_help(tool, stdout);
            return 2;
        }
        if (size == 7 && memcmp(name, "version", 7) == 0) {
            printf("4.4.0\n");
            return 2;
        }
        const struct option *option = find(tool, name, size);
        if (!option) return args_wrong(args, "%.*s is not a recognized option", (int)size, name);
        const char *value = NULL;
        if (equals && option->kind != OPTION_FLAG) value = equals + 1;
        else if (equals) return args_wrong(args, "Option %s takes no value", option->name);
        else if (option->kind == OPTION_MAYBE) value = i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0 ? argv[++i] : NULL;
        else if (option->kind != OPTION_FLAG) {
            if (i + 1 >= argc) return args_wrong(args, "Option %s requires an argument", option->name);
            value = argv[++i];
        }
        if (value && option->kind >= OPTION_INTEGER && !is_number(value, option->kind))
            return args_wrong(args, "Cannot parse argument '%s' of option %s", value, option->name);
        do {
            if (args->count == ARGS_MAX) return args_wrong(args, "too many options");
            args->given[args->count].option = option;
            args->given[args->count++].value = value;
            value = option->kind == OPTION_SEVERAL && !equals && i + 1 < argc && argv[i + 1][0] != '-' ? argv[++i] : NULL;
        } while (value);
    }
    return 0;
}

bool args_has(const struct args *args, const char *name) {
    for (uint32_t i = 0; i < args->count; i++)
        if (strcmp(args->given[i].option->name, name) == 0) return true;
    return false;
}

const char *args_text(const struct args *args, const char *name) {
    const struct option *option = find(args->tool, name, strlen(name));
    const char *value = option ? option->preset : NULL;
    for (uint32_t i = 0; i < args->count; i++)
        if (args->given[i].option == option) value = args->given[i].value;
    return value;
}

int64_t args_number(const struct args *args, const char *name) {
    const char *text = args_text(args, name);
    return text ? strtoll(text, NULL, 10) : -1;
}

const char *args_each(const struct args *args, const char *name, uint32_t *at) {
    while (*at < args->count) {
        uint32_t i = (*at)++;
        if (strcmp(args->given[i].option->name, name) == 0) return args->given[i].value;
    }
    return NULL;
}
