#include "cli/cli.h"
#include "cli/console.h"
#include "cli/configs.h"
#include "cli/dump.h"
#include "cli/groups.h"
#include "cli/storage.h"
#include "cli/tools.h"
#include "cli/topics.h"
#include "cli/trace.h"
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
    [TOOL_features_describe] = features_describe_run,
    [TOOL_features_upgrade] = features_upgrade_run,
    [TOOL_features_downgrade] = features_downgrade_run,
    [TOOL_features_disable] = features_disable_run,
    [TOOL_features_version_mapping] = features_version_mapping_run,
    [TOOL_features_feature_dependencies] = storage_feature_dependencies_run,
    [TOOL_quorum_describe] = quorum_describe_run,
    [TOOL_quorum_add_controller] = quorum_add_controller_run,
    [TOOL_quorum_remove_controller] = quorum_remove_controller_run,
    [TOOL_cluster_id] = cluster_id_run,
    [TOOL_cluster_unregister] = cluster_unregister_run,
    [TOOL_cluster_list_endpoints] = cluster_list_endpoints_run,
    [TOOL_api_versions] = api_versions_run,
    [TOOL_dump] = tool_dump,
    [TOOL_top] = top_run,
    [TOOL_trace] = trace_run,
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
        bool has_verbs = i + 1 < TOOLS_COUNT && cli_tools[i + 1].parent == (int)i;
        if (has_verbs) continue;
        char name[128];
        if (cli_tools[i].parent < 0 || cli_tools[i].parent == TOOL_storage) snprintf(name, sizeof name, "%s", cli_tools[i].name);
        else snprintf(name, sizeof name, "%s %s", cli_tools[cli_tools[i].parent].name, cli_tools[i].name);
        fprintf(out, "moldau %-39s %s\n", name, cli_tools[i].about);
    }
    fputs("moldau completion bash|zsh                     completion of all of these for a shell\n"
          "moldau man DIR                                 their manual pages\n"
          "Each takes --help. Kafka's own names of the tools are in bin/: kafka-topics.sh, ...\n", out);
}

static int help(void) {
    list(stdout);
    return 0;
}

/* The verb, or the only one that begins so. */
static const struct tool *find_verb(const struct tool *tool, const char *name) {
    const struct tool *found = cli_verb_named(tool, name);
    int index = (int)(tool - cli_tools);
    for (int v = index + 1, many = 0; !found && *name && v < TOOLS_COUNT && cli_tools[v].parent == index; v++) {
        if (strncmp(cli_tools[v].name, name, strlen(name)) != 0) continue;
        for (int w = index + 1; w < TOOLS_COUNT && cli_tools[w].parent == index; w++) many += strncmp(cli_tools[w].name, name, strlen(name)) == 0;
        if (many == 1) found = &cli_tools[v];
        break;
    }
    return found;
}

/* Kafka's tools with verbs tell of a wrong command line in these two ways. */
static int wrong_verb(const struct tool *tool, const char *why) {
    if (strcmp(tool->script, "kafka-features.sh") == 0) fprintf(stderr, "Command line error: %s. Type --help for help.\n", why);
    else fprintf(stderr, "%.*s: error: %s\n", (int)strlen(tool->script) - 3, tool->script, why);
    return 1;
}

/* kafka-storage.sh VERB OPTION..., kafka-features.sh --bootstrap-server ... VERB OPTION... */
static int verbs(const struct tool *tool, int argc, char **argv) {
    static struct args args;
    int at = args_find_verb(tool, argc, argv), index = (int)(tool - cli_tools);
    for (int i = 0; i < at; i++) {
        if (strcmp(argv[i], "-h") != 0 && strcmp(argv[i], "--help") != 0) continue;
        args_help(tool, stdout);
        puts("\nVerbs, each with options of its own (--help):");
        for (int v = index + 1; v < TOOLS_COUNT && cli_tools[v].parent == index; v++) printf("  %-22s %s\n", cli_tools[v].name, cli_tools[v].about);
        return 0;
    }
    const struct tool *verb = at < argc ? find_verb(tool, argv[at]) : NULL;
    if (verb) {
        memmove(argv + 1, argv, (size_t)at * sizeof *argv); /* the verb goes, what stands before it stays */
        return run(verb, argc - 1, argv + 1);
    }
    if (at == argc) return argc == 0 || args_read(&args, tool, argc, argv) == 0 ? wrong_verb(tool, "too few arguments") : 1;
    char why[512];
    struct text text;
    text_init(&text, why, sizeof why);
    text_add(&text, "invalid choice: '%s' (choose from ", argv[at]);
    for (int v = index + 1; v < TOOLS_COUNT && cli_tools[v].parent == index; v++) text_add(&text, v > index + 1 ? ", '%s'" : "'%s'", cli_tools[v].name);
    text_add(&text, ")");
    return wrong_verb(tool, why);
}

static int start(const struct tool *tool, int argc, char **argv) {
    bool has_verbs = tool - cli_tools + 1 < TOOLS_COUNT && tool[1].parent == tool - cli_tools;
    return has_verbs ? verbs(tool, argc, argv) : run(tool, argc, argv);
}

int cli_main(int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
    const struct tool *tool = cli_tool_of_script(program);
    if (tool) return start(tool, argc - 1, argv + 1);
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
    if (strcmp(verb, "completion") == 0) return completion_run(argc - 2, argv + 2);
    if (strcmp(verb, "man") == 0) return man_run(argc - 2, argv + 2);
    tool = cli_tool_named(verb);
    if (tool) return start(tool, argc - 2, argv + 2);
    fprintf(stderr, "moldau: there is no verb '%s'. These are:\n", verb);
    list(stderr);
    return 1;
}
