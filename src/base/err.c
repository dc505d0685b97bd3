#include "base/err.h"
#include <errno.h>

static const struct {
    const char *name, *text;
    enum err_class class;
} table[] = {
#define ROW(name_, class_, text_) [name_] = {.name = #name_, .text = text_, .class = ERR_CLASS_##class_},
    ERR_LIST(ROW)
#undef ROW
};

const char *err_text(enum err err) {
    assert((unsigned)err < ERR_COUNT);
    return table[err].text;
}

const char *err_name(enum err err) {
    assert((unsigned)err < ERR_COUNT);
    return table[err].name;
}

enum err_class err_class_of(enum err err) {
    assert((unsigned)err < ERR_COUNT);
    return table[err].class;
}

enum err err_from_errno(long negative) {
    switch (negative >= 0 ? 0 : -negative) {
    case 0: return ERR_NONE;
    case EAGAIN:
    case EINTR: return ERR_AGAIN;
    case ENOMEM:
    case ENOBUFS: return ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE: return ERR_BUSY;
    case ENOSPC:
    case EDQUOT: return ERR_NO_SPACE;
    case ENOENT:
    case ENOTDIR: return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY: return ERR_EXISTS;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ECANCELED: return ERR_CLOSED;
    case EINVAL: return ERR_INVALID;
    case ENAMETOOLONG: return ERR_LIMIT;
    case EOPNOTSUPP:
    case ENOSYS: return ERR_UNSUPPORTED;
    default: return ERR_IO;
    }
}
