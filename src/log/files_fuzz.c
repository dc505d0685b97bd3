/* The small files of a log directory from any bytes; the first byte chooses the kind. What is read is printed and read
 * again: the same. */
#include "fuzz.h"
#include "base/hash.h"
#include "log/checkpoint.h"
#include "log/index_txn.h"
#include "log/producer.h"
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1 << 18 };
static struct pool pool;
static char printed[TEXT_BYTES];

static void offsets(struct span bytes) {
    struct arena arena;
    struct text text;
    struct checkpoint_offset *entries, *again;
    struct checkpoint_fault fault;
    uint32_t count, count_again;
    arena_init(&arena, &pool, 0);
    text_init(&text, printed, sizeof printed);
    if (checkpoint_offsets_parse(bytes, &arena, &entries, &count, &fault) == ERR_NONE) {
        checkpoint_offsets_print(entries, count, &text);
        assert(text.size < checkpoint_offsets_size(entries, count));
        assert(!text.cut && checkpoint_offsets_parse(span_of(printed, text.size), &arena, &again, &count_again, &fault) == ERR_NONE);
        assert(count == count_again);
        for (uint32_t i = 0; i < count; i++)
            assert(span_equal(entries[i].topic, again[i].topic) && entries[i].partition == again[i].partition && entries[i].offset == again[i].offset);
    }
    arena_destroy(&arena);
}

static void epochs(struct span bytes) {
    struct epoch_cache cache, again;
    struct text text;
    struct checkpoint_fault fault;
    epoch_cache_init(&cache, &pool);
    epoch_cache_init(&again, &pool);
    text_init(&text, printed, sizeof printed);
    if (checkpoint_epochs_parse(bytes, &cache, &fault) == ERR_NONE) {
        epoch_check(&cache);
        checkpoint_epochs_print(&cache, &text);
        assert(text.size < checkpoint_epochs_size(&cache));
        assert(!text.cut && checkpoint_epochs_parse(span_of(printed, text.size), &again, &fault) == ERR_NONE);
        assert(cache.count == again.count);
        for (uint32_t i = 0; i < cache.count; i++)
            assert(cache.entries[i].epoch == again.entries[i].epoch && cache.entries[i].start == again.entries[i].start);
    }
    epoch_cache_destroy(&cache);
    epoch_cache_destroy(&again);
}

static void properties(struct span bytes) {
    struct meta_properties meta, again;
    struct checkpoint_fault fault;
    struct text text;
    struct uuid id, id_again;
    text_init(&text, printed, sizeof printed);
    if (meta_properties_parse(bytes, &meta, &fault) == ERR_NONE && meta.version == 1 && !strpbrk(meta.cluster_id, "\\\r\n \t\f")) {
        meta_properties_print(&meta, 0, &text);
        assert(!text.cut && meta_properties_parse(span_of(printed, text.size), &again, &fault) == ERR_NONE);
        assert(meta.node == again.node && !strcmp(meta.cluster_id, again.cluster_id) && uuid_equal(meta.directory, again.directory));
    }
    text_reset(&text);
    if (partition_metadata_parse(bytes, &id, &fault) == ERR_NONE) {
        partition_metadata_print(id, &text);
        assert(partition_metadata_parse(span_of(printed, text.size), &id_again, &fault) == ERR_NONE && uuid_equal(id, id_again));
    }
    text_reset(&text);
    broker_epoch epoch = clean_shutdown_parse(bytes);
    clean_shutdown_print(epoch, &text);
    assert(clean_shutdown_parse(span_of(printed, text.size)) == epoch);
}

static void transactions(struct span bytes) {
    struct arena arena;
    struct txn_search search;
    size_t good;
    enum err err = txn_index_check(bytes, 0, &good);
    assert(good <= bytes.size && good % TXN_ENTRY_BYTES == 0 && (err == ERR_NONE) == (good == bytes.size));
    assert(txn_index_bytes_before(span_of(bytes.data, good), INT64_MAX) <= good);
    arena_init(&arena, &pool, 0);
    txn_search_init(&search, 10, 1000, &arena);
    if (txn_search_segment(&search, bytes) == ERR_NONE) txn_search_sort(&search);
    arena_destroy(&arena);
}

/* The CRC is made to fit. */
static void snapshot(struct span bytes) {
    struct producer_options options = {.pool = &pool, .expiration_ms = INT64_MAX};
    struct producer_state *state = producer_state_new(&options);
    uint8_t *copy = malloc(bytes.size + 1), *again;
    if (!state || !copy) abort();
    memcpy(copy, bytes.data, bytes.size);
    if (bytes.size >= PRODUCER_SNAPSHOT_HEADER_BYTES) store_be32(copy + 2, crc32c(0, copy + 6, bytes.size - 6));
    if (producer_snapshot_read(state, span_of(copy, bytes.size), 0) == ERR_NONE) {
        producer_check_state(state);
        assert(producer_snapshot_bytes(state) <= bytes.size);
        again = malloc(bytes.size);
        if (!again) abort();
        producer_snapshot_write(state, again);
        size_t size = producer_snapshot_bytes(state);
        uint32_t count = producer_count(state);
        assert(producer_snapshot_read(state, span_of(again, size), 0) == ERR_NONE && producer_count(state) == count);
        free(again);
    }
    producer_state_free(state);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const kinds[])(struct span) = {offsets, epochs, properties, transactions, snapshot};
    if (size < 1) return 0;
    if (!pool.limit) pool_init(&pool, MIB(64), 4);
    kinds[data[0] % countof(kinds)](span_of(data + 1, size - 1));
    assert(atomic_load(&pool.used) == 0);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    static const char *const texts[] = {
        "\0" "0\n2\nplain 0 60\nplain 1 5\n", "\1" "0\n3\n1 0\n3 10\n7 20\n",
        "\2" "#\n#Fri Nov 20 23:47:32 UTC 2026\nnode.id=1\ndirectory.id=Lh5EN2ABTh6YwD2b_wPwiA\nversion=1\ncluster.id=TbH7K9H3or5WN2m56kkS5w\n",
        "\2" "version: 0\ntopic_id: guigBCrjR5OJjliOMLVYNQ", "\2" "{\"version\":0,\"brokerEpoch\":14}"};
    for (size_t i = 0; i < countof(texts); i++) add(texts[i], i == 0 ? 1 + strlen(texts[i] + 1) : strlen(texts[i]));
    uint8_t bytes[1 + PRODUCER_SNAPSHOT_HEADER_BYTES + 2 * PRODUCER_SNAPSHOT_ENTRY_BYTES] = {3};
    for (int i = 0; i < 3; i++) txn_entry_encode(&(struct txn_entry){i, 10 * i, 10 * i + 9, 10 * i + 10}, bytes + 1 + i * TXN_ENTRY_BYTES);
    add(bytes, 1 + 3 * TXN_ENTRY_BYTES);
    memset(bytes, 0, sizeof bytes);
    bytes[0] = 4;
    bytes[2] = 1;  /* version */
    bytes[10] = 2; /* count   */
    bytes[1 + PRODUCER_SNAPSHOT_HEADER_BYTES + 7] = 1;
    add(bytes, sizeof bytes);
}
