#include "cli/cli.h"
#include "cli/console.h"
#include "cli/configs.h"
#include "cli/dump.h"
#include "cli/groups.h"
#include "cli/storage.h"
#include "cli/tools.h"
#include "cli/topics.h"
#include <string.h>

static int (*const runs[TOOLS_COUNT])(struct args *args) = {
    [TOOL_topics] = topics_run,
    [TOOL_console_producer] = console_producer_run,
    [TOOL_console_consumer] = console_consumer_run,
    [TOOL_consumer_groups] = groups_run,
    [TOOL_configs] = configs_run,
    [TOOL_get_offsets] = get_offsets_run,
    [TOOL_delete_records] = delete_records_run,
    [TOOL_log_dirs] = log_dirs_run,
    [TOOL_producer_perf] = producer_perf_run,
    [TOOL_consumer_perf] = consumer_perf_run,
    [TOOL_e2e_latency] = e2e_latency_run,
    [TOOL_verifiable_producer] = verifiable_producer_run,
    [TOOL_verifiable_consumer] = verifiable_consumer_run,
    [TOOL_dump] = tool_dump,
    [TOOL_storage_info] = storage_info_run,
    [TOOL_storage_format] = storage_format_run,
    [TOOL_storage_version_mapping] = storage_version_mapping_run,
    [TOOL_storage_feature_dependencies] = storage_feature_dependencies_run,
    [TOOL_storage_random_uuid] = storage_random_uuid_run,
};

static int run(const struct tool *tool, int argc, char **argv) {
    static struct args args; /* large, and there is one tool in a process */
    int wrong = args_read(&args, tool, argc, argv);
    if (wrong) return wrong == 2 ? 0 : 1;
    return runs[tool - cli_tools](&args);
}

static void list(FILE *out) {
    fputs("moldau server FILE [--override KEY=VALUE]...   a node by a Kafka server.properties\n"
          "moldau dev                                     a node without one\n"
          "moldau config check FILE                       what such a file means, and what clients will be told\n", out);
    for (uint32_t i = 0; i < TOOLS_COUNT; i++) {
        if (i == TOOL_storage) continue;
        fprintf(out, "moldau %-39s %s\n", cli_tools[i].name, cli_tools[i].about);
    }
    fputs("Each takes --help. Kafka's own names of the tools are in bin/: kafka-topics.sh, ...\n", out);
}

static int help(void) {
    list(stdout);
    return 0;
}

/* kafka-storage.sh VERB OPTION... */
static int storage(int argc, char **argv) {
    const char *verb = argc > 0 ? argv[0] : "";
    if (strcmp(verb, "-h") == 0 || strcmp(verb, "--help") == 0) {
        puts(cli_tools[TOOL_storage].about);
        for (uint32_t i = TOOL_storage + 1; i <= TOOL_storage_random_uuid; i++) printf("  %-22s %s\n", cli_tools[i].name, cli_tools[i].about);
        return 0;
    }
    for (uint32_t i = TOOL_storage + 1; i <= TOOL_storage_random_uuid; i++)
        if (strcmp(cli_tools[i].name, verb) == 0) return run(&cli_tools[i], argc - 1, argv + 1);
    if (*verb) fprintf(stderr, "kafka-storage: error: invalid choice: '%s' (choose from 'info', 'format', 'version-mapping', 'feature-dependencies', 'random-uuid')\n", verb);
    else fprintf(stderr, "kafka-storage: error: too few arguments (choose from 'info', 'format', 'version-mapping', 'feature-dependencies', 'random-uuid')\n");
    return 1;
}

int cli_main(int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
    const struct tool *tool = cli_tool_of_script(program);
    if (tool == &cli_tools[TOOL_storage]) return storage(argc - 1, argv + 1);
    if (tool) return run(tool, argc - 1, argv + 1);
    size_t size = strlen(program);
    if (size > 3 && strcmp(program + size - 3, ".sh") == 0) {
        fprintf(stderr, "%s is not there yet. These are:\n", program);
        list(stderr);
        return 1;
    }
    const char *verb = argc > 1 ? argv[1] : "help";
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) return argc > 1 ? help() : (list(stderr), 1);
    if (strcmp(verb, "--version") == 0 || strcmp(verb, "version") == 0) {
        puts("moldau 0.1.0 (Kafka 4.4.0)");
        return 0;
    }
    tool = cli_tool_named(verb);
    if (tool == &cli_tools[TOOL_storage]) return storage(argc - 2, argv + 2);
    if (tool) return run(tool, argc - 2, argv + 2);
    fprintf(stderr, "moldau: there is no verb '%s'. These are:\n", verb);
    list(stderr);
    return 1;
}
