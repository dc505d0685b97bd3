/* cli/args.h - a command line, read by the table of cli.tbl.
 *
 * --name value, --name=value, flags; words are what is no option. Kafka has two kinds of tools, told apart by the letter
 * of their help: those without take an option only once (but those of which a row says otherwise), -name for --name, and
 * pass over words; those with -h take the last value, part of a name that is that of no other option, and no words.
 */
#pragma once
#include "base/assert.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
    OPTION_FLAG,      /* no value                          */
    OPTION_TEXT,
    OPTION_TEXTS,     /* may come several times            */
    OPTION_MAYBE,     /* a value may follow, or none       */
    OPTION_SEVERAL,   /* values follow, at least one       */
    OPTION_INTEGER,   /* of 32 bits                        */
    OPTION_LONG,      /* of 64 bits                        */
};
struct option {
    const char *name;     /* without the dashes            */
    enum option_kind kind;
    char letter;          /* -c; 0: none                   */
    const char *argument; /* what stands for the value in the help; NULL: a flag; "": only its type */
    const char *preset;   /* NULL: none                    */
    const char *help;
};

struct tool {
    const char *name;     /* topics: as a verb             */
    const char *script;   /* kafka-topics.sh; NULL: none   */
    const char *about;    /* the first line of the help    */
    const struct option *options;
    uint32_t count;
    int parent;           /* the tool whose verb it is; -1: none */
};
enum tool_id {
#define TOOL(id, verb, script, about) TOOL_##id,
#define VERB(parent, id, verb, about) TOOL_##id,
#define OPTION(...)
#define END
#include "cli/cli.tbl"
    TOOLS_COUNT
};
extern const struct tool cli_tools[TOOLS_COUNT];
const struct tool *cli_tool_named(const char *verb);   /* NULL: none; kafka-storage's own verbs are found, too */
const struct tool *cli_verb_named(const struct tool *tool, const char *verb); /* NULL: none */
const struct tool *cli_tool_of_script(const char *script);

enum { ARGS_MAX = 256 };
struct args {
    const struct tool *tool;
    struct { const struct option *option; const char *value; } given[ARGS_MAX];
    uint32_t count;
    const char *words[ARGS_MAX]; /* what is no option */
    uint32_t word_count;
};

/* 0: go on. 1: something is wrong and has been said (exit status 1). 2: --help or --version was asked for and given. */
int args_read(struct args *args, const struct tool *tool, int argc, char **argv);
/* Whether it is of the kind with -h. */
bool args_has_letters(const struct tool *tool);
/* Where the verb of a tool that has verbs stands among its words; argc: nowhere. */
int args_find_verb(const struct tool *tool, int argc, char **argv);
bool args_has(const struct args *args, const char *name);
/* The (last) value; the preset when it was not given; NULL: neither. */
const char *args_text(const struct args *args, const char *name);
int64_t args_number(const struct args *args, const char *name); /* checked by args_read */
/* The values of an option that may come several times: start with *at = 0. NULL: no more. */
const char *args_each(const struct args *args, const char *name, uint32_t *at);
void args_help(const struct tool *tool, FILE *out);
/* Says what is wrong, as Kafka's tools do, with the help behind it; answers 1. */
int args_wrong(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
