/* cli/tools.c - cli.tbl as tables. */
#include "cli/args.h"
#include "base/containers.h"
#include <string.h>

#define TOOL(id, verb, script, about) static const struct option options_##id[] = {
#define VERB(parent, id, verb, about) TOOL(id, verb, NULL, about)
#define OPTION(kind, name, letter, argument, preset, help) {name, OPTION_##kind, letter, argument, preset, help},
#define END };
#include "cli/cli.tbl"

#define TOOL(id, verb, script, about) {verb, script, about, options_##id, sizeof options_##id / sizeof *options_##id, -1},
#define VERB(parent, id, verb, about) {verb, NULL, about, options_##id, sizeof options_##id / sizeof *options_##id, TOOL_##parent},
#define OPTION(...)
#define END
const struct tool cli_tools[TOOLS_COUNT] = {
#include "cli/cli.tbl"
};

const struct tool *cli_tool_named(const char *verb) {
    for (uint32_t i = 0; i < TOOLS_COUNT; i++)
        if (cli_tools[i].parent < 0 && strcmp(cli_tools[i].name, verb) == 0) return &cli_tools[i];
    return cli_verb_named(&cli_tools[TOOL_storage], verb);
}

const struct tool *cli_verb_named(const struct tool *tool, const char *verb) {
    for (uint32_t i = 0; i < TOOLS_COUNT; i++)
        if (cli_tools[i].parent == tool - cli_tools && strcmp(cli_tools[i].name, verb) == 0) return &cli_tools[i];
    return NULL;
}

const struct tool *cli_tool_of_script(const char *script) {
    for (uint32_t i = 0; i < TOOLS_COUNT; i++)
        if (cli_tools[i].script && strcmp(cli_tools[i].script, script) == 0) return &cli_tools[i];
    return NULL;
}
