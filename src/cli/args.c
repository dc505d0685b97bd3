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

/* The only option that begins so; NULL: there is none, or there are several. */
static const struct option *find_begun(const struct tool *tool, const char *name, size_t size) {
    const struct option *found = NULL;
    for (; tool; tool = tool->parent < 0 ? NULL : &cli_tools[tool->parent])
        for (uint32_t i = 0; i < tool->count; i++) {
            if (size == 0 || strncmp(tool->options[i].name, name, size) != 0) continue;
            if (found && strcmp(found->name, tool->options[i].name) != 0) return NULL;
            found = &tool->options[i];
        }
    return found;
}

bool args_has_letters(const struct tool *tool) {
    const struct option *help = find(tool, "help", 4);
    return help && help->letter;
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
        size_t size = strcspn(argv[i], "=");
        const struct option *option = argv[i][1] == '-' && size > 2 ? find_begun(tool, argv[i] + 2, size - 2) : find_letter(tool, argv[i][1]);
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
        static const char *const kinds[] = {"", "String", "String", "String", "String", "Integer", "Long"};
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

/* What an option's word says: its name, and where a value begins that stands behind `=`. NULL: the word is no option, or
 * one that the tool does not have (*wrong). */
static const struct option *read_name(const struct tool *tool, const char *word, const char **value, bool *wrong) {
    *value = NULL;
    *wrong = false;
    if (word[0] != '-' || !word[1]) return NULL;
    const char *name = word + 1 + (word[1] == '-');
    size_t size = strcspn(name, "=");
    bool letters = args_has_letters(tool), is_long = word[1] == '-' || !letters; /* -topic is --topic where there are no letters */
    if (name[size]) *value = name + size + 1;
    const struct option *option = is_long ? find(tool, name, size) : NULL;
    if (!option && is_long && letters) option = find_begun(tool, name, size);
    if (!option && word[1] != '-' && !word[2]) option = find_letter(tool, word[1]);
    *wrong = !option;
    return option;
}

/* Tools without letters ask for one value and are given several: they say so rather than to take one of them. */
static const struct option *given_twice(const struct args *args) {
    for (uint32_t i = 0; i < args->count; i++)
        for (uint32_t k = 0; k < i; k++) {
            const struct option *option = args->given[i].option;
            if (option == args->given[k].option && args->given[i].value && option->kind != OPTION_TEXTS && option->kind != OPTION_SEVERAL) return option;
        }
    return NULL;
}

int args_read(struct args *args, const struct tool *tool, int argc, char **argv) {
    bool options_over = false, letters = args_has_letters(tool);
    memset(args, 0, sizeof *args);
    args->tool = tool;
    for (int i = 0; i < argc; i++) {
        const char *value, *name = argv[i] + strspn(argv[i], "-");
        bool wrong;
        if (!options_over && strcmp(argv[i], "--") == 0) {
            options_over = true;
            continue;
        }
        const struct option *option = options_over ? NULL : read_name(tool, argv[i], &value, &wrong);
        if (!option && !options_over && wrong && strcmp(argv[i], "--help") != 0) return args_wrong(args, "%.*s is not a recognized option", (int)strcspn(name, "="), name);
        if (!option && (options_over || !wrong)) {
            if (letters) return args_wrong(args, "unrecognized arguments: '%s'", argv[i]);
            if (args->word_count == ARGS_MAX) return args_wrong(args, "too many words");
            args->words[args->word_count++] = argv[i];
            continue;
        }
        if (!option || strcmp(option->name, "help") == 0) {
            args_help(tool, stdout);
            return 2;
        }
        if (strcmp(option->name, "version") == 0) {
            printf("4.4.0\n");
            return 2;
        }
        bool equals = value != NULL;
        if (equals && option->kind == OPTION_FLAG) return args_wrong(args, "Option %s takes no value", option->name);
        if (!equals && option->kind == OPTION_MAYBE) value = i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0 ? argv[++i] : NULL;
        else if (!equals && option->kind != OPTION_FLAG) {
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
    const struct option *twice = letters ? NULL : given_twice(args);
    return twice ? args_wrong(args, "Found multiple arguments for option %s, but you asked for only one", twice->name) : 0;
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
