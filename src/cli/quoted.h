/* cli/quoted.h - text in JSON's quotes, for the tools that print a line of JSON. data NULL: null. */
#pragma once
#include "base/buf.h"
#include <stdio.h>

void print_quoted(struct span text, FILE *out);
