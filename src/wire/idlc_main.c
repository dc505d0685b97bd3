/* wire/idlc_main.c - the generator as a program: idlc OUT_FOLDER FILE.idl... */
#include "wire/idlc.h"

static bool read_file(struct idl *idl, const char *path) {
    FILE *in = fopen(path, "r");
    if (!in) {
        perror(path);
        return false;
    }
    bool good = idl_read(idl, path, in);
    fclose(in);
    return good;
}

static bool emit(const struct idl *idl, const char *folder, const char *name, void (*what)(const struct idl *, FILE *)) {
    char *path = idl_format("%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
        return false;
    }
    what(idl, out);
    if (ferror(out) | fclose(out)) {
        perror(path);
        return false;
    }
    return true;
}

int main(int argc, char **argv) {
    static struct idl idl;
    bool good = true;
    if (argc < 3) {
        fprintf(stderr, "usage: idlc OUT_FOLDER FILE.idl...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) good &= read_file(&idl, argv[i]);
    good = good && idl_check(&idl);
    return good && emit(&idl, argv[1], "api.h", idl_emit_api_h) && emit(&idl, argv[1], "api.c", idl_emit_api_c) &&
           emit(&idl, argv[1], "records.h", idl_emit_records_h) && emit(&idl, argv[1], "records.c", idl_emit_records_c) &&
           emit(&idl, argv[1], "errors.h", idl_emit_errors_h) && emit(&idl, argv[1], "errors.c", idl_emit_errors_c) &&
           emit(&idl, argv[1], "wire.dict", idl_emit_dictionary) ? 0 : 1;
}
