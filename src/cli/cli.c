#include "cli/cli.h"
#include "cli/dump.h"
#include <string.h>

int cli_main(int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    if (argc > 0 && !strcmp(slash ? slash + 1 : argv[0], dump_tool.script)) return dump_main(argc - 1, argv + 1);
    if (argc > 1 && !strcmp(argv[1], dump_tool.name)) return dump_main(argc - 2, argv + 2);
    fprintf(stderr, "moldau: %s is not a verb; server, dev and dump are\n", argc > 1 ? argv[1] : "nothing");
    return 1;
}
