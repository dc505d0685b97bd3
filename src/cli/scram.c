#include "cli/scram.h"
#include "base/assert.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SALT_BYTES = 26, TEXT_MAX = 1024 };

static const struct { const char *name; uint32_t size; } mechanisms[] = {[SCRAM_SHA_256] = {"SCRAM-SHA-256", 32}, [SCRAM_SHA_512] = {"SCRAM-SHA-512", 64}};

enum scram_mechanism scram_named(struct span name) {
    for (int i = SCRAM_SHA_256; i <= SCRAM_SHA_512; i++)
        if (span_equal(name, span_text(mechanisms[i].name))) return (enum scram_mechanism)i;
    return SCRAM_NONE;
}

const char *scram_name(enum scram_mechanism mechanism) { return mechanism == SCRAM_SHA_256 || mechanism == SCRAM_SHA_512 ? mechanisms[mechanism].name : "UNKNOWN"; }
uint32_t scram_key_size(enum scram_mechanism mechanism) { return mechanisms[mechanism].size; }

static const EVP_MD *digest(enum scram_mechanism mechanism) { return mechanism == SCRAM_SHA_256 ? EVP_sha256() : EVP_sha512(); }

void scram_salt_password(enum scram_mechanism mechanism, struct span password, struct span salt, int32_t iterations, uint8_t out[SCRAM_KEY_MAX]) {
    if (!PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.size, salt.data, (int)salt.size, iterations, digest(mechanism), (int)scram_key_size(mechanism), out))
        never("PBKDF2 needs nothing but memory");
}

static void hmac(enum scram_mechanism mechanism, const uint8_t *key, const char *text, uint8_t *out) {
    unsigned size = 0;
    if (!HMAC(digest(mechanism), key, (int)scram_key_size(mechanism), (const uint8_t *)text, strlen(text), out, &size)) never("HMAC needs nothing but memory");
}

void scram_keys(enum scram_mechanism mechanism, const uint8_t *salted_password, uint8_t stored_key[SCRAM_KEY_MAX], uint8_t server_key[SCRAM_KEY_MAX]) {
    uint8_t client_key[SCRAM_KEY_MAX];
    unsigned size = 0;
    hmac(mechanism, salted_password, "Client Key", client_key);
    hmac(mechanism, salted_password, "Server Key", server_key);
    if (!EVP_Digest(client_key, scram_key_size(mechanism), stored_key, &size, digest(mechanism), NULL)) never("a digest needs nothing but memory");
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

/* Quotes around a value are no part of it. */
static struct span unquoted(struct span value) {
    return value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"' ? span_of(value.data + 1, value.size - 2) : value;
}

/* -1: no base64, or more than there is room for. */
static int base64(struct span text, uint8_t *out, size_t room) {
    uint8_t decoded[TEXT_MAX];
    size_t padding = 0;
    if (text.size == 0 || text.size % 4 || text.size > TEXT_MAX) return -1;
    while (padding < 2 && text.data[text.size - 1 - padding] == '=') padding++;
    int size = EVP_DecodeBlock(decoded, text.data, (int)text.size);
    if (size < 0 || (size_t)size - padding > room) return -1;
    memcpy(out, decoded, (size_t)size - padding);
    return size - (int)padding;
}

static bool printf_like(2, 3) fail(struct text *why, const char *sentence, ...) {
    char bytes[TEXT_MAX];
    va_list arguments;
    va_start(arguments, sentence);
    vsnprintf(bytes, sizeof bytes, sentence, arguments);
    va_end(arguments);
    text_reset(why);
    text_add(why, "%s", bytes);
    return false;
}

struct given { struct span name, password, salted, salt, iterations; };

/* name=...,iterations=...,... : a comma ends a value, but one that is in quotes. */
static bool read_fields(struct span rest, struct given *given, struct text *why) {
    while (rest.size) {
        size_t end = 0, equals = 0;
        bool quoted = false;
        while (end < rest.size && (quoted || rest.data[end] != ',')) {
            if (rest.data[end] == '"') quoted = !quoted;
            if (rest.data[end] == '=' && !equals) equals = end;
            end++;
        }
        struct span name = span_of(rest.data, equals), value = unquoted(span_of(rest.data + equals + 1, equals ? end - equals - 1 : 0));
        struct span *into = span_equal(name, SPAN_LITERAL("name")) ? &given->name : span_equal(name, SPAN_LITERAL("password")) ? &given->password
                            : span_equal(name, SPAN_LITERAL("saltedpassword")) ? &given->salted : span_equal(name, SPAN_LITERAL("salt")) ? &given->salt
                            : span_equal(name, SPAN_LITERAL("iterations")) ? &given->iterations : NULL;
        if (!into) {
            text_reset(why);
            text_add(why, "Unknown --add-scram field %.*s", (int)(equals ? equals : end), (const char *)rest.data);
            return false;
        }
        *into = value;
        rest = end < rest.size ? span_of(rest.data + end + 1, rest.size - end - 1) : (struct span){0};
    }
    return true;
}

bool scram_parse(const char *text, struct random *random, struct scram_credential *out, struct text *why) {
    const char *equals = strchr(text, '=');
    struct given given = {0};
    uint8_t salted[SCRAM_KEY_MAX];
    *out = (struct scram_credential){0};
    if (!equals) return fail(why, "Failed to find equals sign in SCRAM argument '%s'", text);
    out->mechanism = scram_named(span_of(text, (size_t)(equals - text)));
    if (out->mechanism == SCRAM_NONE) {
        text_add(why, "The add-scram mechanism %.*s is not supported.", (int)(equals - text), text);
        return false;
    }
    size_t size = strlen(equals + 1);
    if (size < 2 || equals[1] != '[' || equals[size] != ']') return fail(why, "Expected configuration string to be enclosed in square brackets: %s", equals + 1);
    if (!read_fields(span_of(equals + 2, size - 2), &given, why)) return false;
    if (!given.name.size || given.name.size >= sizeof out->name) return fail(why, "You must supply 'name' to add-scram");
    if (!given.password.data && !given.salted.data) return fail(why, "You must supply one of 'password' or 'saltedpassword' to add-scram");
    if (given.password.data && given.salted.data) return fail(why, "You must only supply one of 'password' or 'saltedpassword' to add-scram");
    if (given.salted.data && !given.salt.data) return fail(why, "You must supply 'salt' with 'saltedpassword' to add-scram");
    memcpy(out->name, given.name.data, given.name.size);
    out->iterations = SCRAM_ITERATIONS_MIN;
    if (given.iterations.data) {
        char number[24] = "", *end;
        memcpy(number, given.iterations.data, given.iterations.size < sizeof number ? given.iterations.size : sizeof number - 1);
        long value = strtol(number, &end, 10);
        if (end == number || *end) return fail(why, "For input string: \"%s\"", number);
        if (value < SCRAM_ITERATIONS_MIN) return fail(why, "The 'iterations' value must be >= %s for add-scram", "4096");
        if (value > SCRAM_ITERATIONS_MAX) return fail(why, "The 'iterations' value must be <= %s for add-scram", "16384");
        out->iterations = (int32_t)value;
    }
    out->salt_size = SALT_BYTES;
    if (!given.salt.data) random_bytes(random, out->salt, SALT_BYTES);
    else {
        int bytes = base64(given.salt, out->salt, sizeof out->salt);
        if (bytes < 0) return fail(why, "Failed to decode given salt as base64 in --add-scram");
        out->salt_size = (uint32_t)bytes;
    }
    if (given.password.data) scram_salt_password(out->mechanism, given.password, span_of(out->salt, out->salt_size), out->iterations, salted);
    else if (base64(given.salted, salted, sizeof salted) != (int)scram_key_size(out->mechanism))
        return fail(why, "saltedpassword must be the base64 of as many bytes as the hash has");
    scram_keys(out->mechanism, salted, out->stored_key, out->server_key);
    return true;
}
