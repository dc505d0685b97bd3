#include "cli/console.h"
int console_producer_run(struct args *args) { return 1; }
int console_consumer_run(struct args *args) { return 1; }
