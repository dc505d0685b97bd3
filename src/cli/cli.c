#include "cli/cli.h"
#include "cli/args.h"

int cli_main(int argc, char **argv) {
    fprintf(stderr, "moldau: %s is not a verb; server and dev are\n", argc > 1 ? argv[1] : "nothing");
    return 1;
}
