#include "cli/configs.h"
#include "cli/scram.h"
#include "test.h"
#include <openssl/evp.h>
#include <string.h>

static struct configs configs;
static void world_open(void) {
    memset(&configs, 0, sizeof configs);
    pool_init(&configs.admin.session.pool, 0, 0);
    arena_init(&configs.admin.session.arena, &configs.admin.session.pool, 0);
    text_init(&configs.admin.why, configs.admin.why_bytes, sizeof configs.admin.why_bytes);
}
static void world_close(void) {
    arena_destroy(&configs.admin.session.arena);
    pool_destroy(&configs.admin.session.pool);
}
/* "a=1;b=2,3", or what was said. */
static const char *added(const char *text) {
    static char shown[1024];
    struct text out;
    world_open();
    text_init(&out, shown, sizeof shown);
    if (!configs_parse_added(&configs, text)) text_add(&out, "%s", configs.admin.why_bytes);
    else
        for (uint32_t i = 0; i < configs.added_count; i++) {
            text_add(&out, i ? ";" : "");
            text_add_span(&out, configs.added[i].name);
            text_add(&out, "=");
            text_add_span(&out, configs.added[i].value);
        }
    world_close();
    return shown;
}

/* Pairs with commas between; brackets keep commas and equals signs together and are no part of the value; the last of a name
 * counts; what is no pair, and names with signs that names do not have, are told. */
TEST(configurations_to_add_are_read) {
    const char *no_pair = "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.";
    assert_string_equal(added("a=1"), "a=1");
    assert_string_equal(added("a=1,b=[2,3],c="), "a=1;b=2,3;c=");
    assert_string_equal(added(" a = 1 , b = [ x=y ] "), "a=1;b=x=y");
    assert_string_equal(added("SCRAM-SHA-256=[iterations=8192,password=s=e]"), "SCRAM-SHA-256=iterations=8192,password=s=e");
    assert_string_equal(added("a=1,a=2"), "a=2");
    assert_string_equal(added("a"), no_pair);
    assert_string_equal(added("a=1,b"), no_pair);
    assert_string_equal(added("a=b=c"), no_pair);
    assert_string_equal(added("a/b=c"), "Invalid character found for config key: a/b");
}

/* Numbers as Java's Double.toString writes them: always a fraction, scientific from 10^7 on and below 10^-3. */
TEST(doubles_are_written_as_java_does) {
    static const struct { double value; const char *text; } rows[] = {
        {0, "0.0"}, {1, "1.0"}, {1024, "1024.0"}, {0.1, "0.1"}, {-2.5, "-2.5"}, {100.125, "100.125"}, {9999999, "9999999.0"}, {1e7, "1.0E7"}, {12345678, "1.2345678E7"},
        {0.001, "0.001"}, {0.00012, "1.2E-4"}, {1e21, "1.0E21"}, {1234567.891, "1234567.891"}, {3, "3.0"}, {0.0123, "0.0123"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char text[32];
        double_text(rows[i].value, text);
        assert_string_equal(text, rows[i].text);
    }
}

static int base64(const char *text, uint8_t *out) {
    size_t size = strlen(text), padding = text[size - 1] == '=' ? text[size - 2] == '=' ? 2 : 1 : 0;
    return EVP_DecodeBlock(out, (const uint8_t *)text, (int)size) - (int)padding;
}

/* The example of RFC 7677 (user, pencil): its client proof and server signature come out of the keys that are made. */
TEST(scram_keys_are_those_of_the_rfc) {
    struct scram_credential credential;
    struct random random;
    char why_bytes[256];
    struct text why;
    uint8_t proof[64], signature[64], client_signature[32], client_key[32], key[32];
    const char *message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
                          "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    unsigned size;
    random_seed(&random, 1);
    text_init(&why, why_bytes, sizeof why_bytes);
    assert_true(scram_parse("SCRAM-SHA-256=[name=user,password=pencil,iterations=4096,salt=\"W22ZaJ0SNY7soEsUEjb6gQ==\"]", &random, &credential, &why));
    assert_string_equal(credential.name, "user");
    assert_int_equal(credential.salt_size, 16);
    assert_int_equal(base64("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", proof), 32);
    assert_int_equal(base64("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", signature), 32);
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, credential.stored_key, 32, (const uint8_t *)message, strlen(message), client_signature, 32, NULL));
    for (int i = 0; i < 32; i++) client_key[i] = proof[i] ^ client_signature[i];
    assert_true(EVP_Digest(client_key, 32, key, &size, EVP_sha256(), NULL));
    assert_memory_equal(key, credential.stored_key, 32);
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, credential.server_key, 32, (const uint8_t *)message, strlen(message), key, 32, NULL));
    assert_memory_equal(key, signature, 32);
}

/* What lacks a part, has too many, or is out of range is told; a salted password stands for the password that it was made of. */
TEST(scram_arguments_are_read) {
    static const struct { const char *text, *why; } bad[] = {
        {"SCRAM-SHA-256", "Failed to find equals sign in SCRAM argument 'SCRAM-SHA-256'"}, {"MD5=[name=a,password=b]", "The add-scram mechanism MD5 is not supported."},
        {"SCRAM-SHA-256=[password=b]", "You must supply 'name' to add-scram"}, {"SCRAM-SHA-256=[name=a]", "You must supply one of 'password' or 'saltedpassword' to add-scram"},
        {"SCRAM-SHA-256=[name=a,password=b,saltedpassword=c]", "You must only supply one of 'password' or 'saltedpassword' to add-scram"},
        {"SCRAM-SHA-256=[name=a,saltedpassword=\"YCE=\"]", "You must supply 'salt' with 'saltedpassword' to add-scram"},
        {"SCRAM-SHA-512=[name=a,password=b,iterations=4095]", "The 'iterations' value must be >= 4096 for add-scram"},
        {"SCRAM-SHA-512=[name=a,password=b,iterations=16385]", "The 'iterations' value must be <= 16384 for add-scram"},
        {"SCRAM-SHA-512=[name=a,password=b,frob=1]", "Unknown --add-scram field frob"},
    };
    struct scram_credential one, two;
    struct random random;
    char why_bytes[256], text[512], encoded[128];
    struct text why;
    uint8_t salted[SCRAM_KEY_MAX];
    random_seed(&random, 7);
    for (size_t i = 0; i < countof(bad); i++) {
        text_init(&why, why_bytes, sizeof why_bytes);
        assert_false(scram_parse(bad[i].text, &random, &one, &why));
        assert_string_equal(why_bytes, bad[i].why);
    }
    assert_true(scram_parse("SCRAM-SHA-512=[name=alice,password=secret,iterations=8192,salt=\"N3E=\"]", &random, &one, &why));
    scram_salt_password(SCRAM_SHA_512, SPAN_LITERAL("secret"), span_of(one.salt, one.salt_size), 8192, salted);
    EVP_EncodeBlock((uint8_t *)encoded, salted, 64);
    snprintf(text, sizeof text, "SCRAM-SHA-512=[name=alice,iterations=8192,salt=\"N3E=\",saltedpassword=\"%s\"]", encoded);
    assert_true(scram_parse(text, &random, &two, &why));
    assert_memory_equal(one.stored_key, two.stored_key, 64);
    assert_memory_equal(one.server_key, two.server_key, 64);
}
