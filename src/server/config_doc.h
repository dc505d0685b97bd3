/* server/config_doc.h - docs/config.md, made from the table of keys. */
#pragma once
#include <stdio.h>

void config_doc_print(FILE *out);
