/* cli/scram.h - SCRAM credentials as tools are given them, and the keys that are made of a password (RFC 5802).
 */
#pragma once
#include "base/random.h"
#include "base/text.h"

enum scram_mechanism { SCRAM_NONE = 0, SCRAM_SHA_256 = 1, SCRAM_SHA_512 = 2 };
enum { SCRAM_KEY_MAX = 64, SCRAM_SALT_MAX = 256, SCRAM_ITERATIONS_MIN = 4096, SCRAM_ITERATIONS_MAX = 16384 };
/* SCRAM_NONE: no mechanism of that name. */
enum scram_mechanism scram_named(struct span name);
const char *scram_name(enum scram_mechanism mechanism);
uint32_t scram_key_size(enum scram_mechanism mechanism);
/* salted_password = Hi(password, salt, iterations); the others are made of it. All have scram_key_size bytes. */
void scram_salt_password(enum scram_mechanism mechanism, struct span password, struct span salt, int32_t iterations, uint8_t out[SCRAM_KEY_MAX]);
void scram_keys(enum scram_mechanism mechanism, const uint8_t *salted_password, uint8_t stored_key[SCRAM_KEY_MAX], uint8_t server_key[SCRAM_KEY_MAX]);

/* What kafka-storage.sh's --add-scram takes: SCRAM-SHA-256=[name=alice,iterations=8192,salt="N3E=",saltedpassword="YCE="] or
 * with password= in place of the last. */
struct scram_credential {
    enum scram_mechanism mechanism;
    char name[256];
    int32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX], stored_key[SCRAM_KEY_MAX], server_key[SCRAM_KEY_MAX];
    uint32_t salt_size;
};
/* A salt is made with `random` when none is given. False: `why` has Kafka's sentence. */
must_use bool scram_parse(const char *text, struct random *random, struct scram_credential *out, struct text *why);
