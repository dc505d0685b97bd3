#include "replica/replica.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Scripts: lines that begin with "> " are events, the others are what comes of them; running one writes the same text.
 *   > become epoch/partition-epoch BROKER[:isr][:fenced][:leaving][@broker-epoch] ...   (the first is the leader)
 *   > append N    > durable    > fetch BROKER OFFSET [broker-epoch]    > time +MS
 *   > committed epoch/partition-epoch BROKER ...    > retry    > revert    > wait    > resign
 * Every line ends with the leader's state. The lag that is allowed is 100 ms. */
struct script {
    struct pool pool;
    struct replica_leader leader;
    log_offset end;
    time_ms now;
    struct text out;
};

static struct replica_offset at(log_offset offset) { return (struct replica_offset){.offset = offset, .segment_base = 0, .position = (uint32_t)offset * 10}; }

static void step(struct script *script, struct replica_event *event) {
    struct replica_effects effects;
    event->now_ms = script->now;
    replica_leader_step(&script->leader, event, &effects);
    replica_leader_check(&script->leader);
    if (effects.fetch_refused) text_add(&script->out, "  fetch refused%s\n", effects.stale_broker_epoch ? ": an older life" : "");
    if (effects.high_watermark_moved) text_add(&script->out, "  high watermark %lld\n", (long long)script->leader.high_watermark.offset);
    if (effects.isr_wanted) {
        text_add(&script->out, "  wants isr");
        for (uint32_t i = 0; i < effects.isr_count; i++) text_add(&script->out, " %d", effects.isr[i]);
        text_add(&script->out, " after %d/%d%s\n", effects.leader_epoch, effects.partition_epoch, effects.recovered ? " recovered" : "");
    }
}

static void run_line(struct script *script, char **words, int count) {
    struct replica_event event = {0};
    struct replica_info infos[8];
    broker_id isr[8];
    int first = 0, second = 0;
    if (count > 1) sscanf(words[1], "%d/%d", &first, &second);
    if (!strcmp(words[0], "become")) {
        for (int i = 2; i < count; i++) {
            infos[i - 2] = (struct replica_info){.broker = atoi(words[i]), .epoch = strchr(words[i], '@') ? atoi(strchr(words[i], '@') + 1) : 1,
                .in_isr = strstr(words[i], ":isr"), .fenced = strstr(words[i], ":fenced"), .shutting_down = strstr(words[i], ":leaving")};
        }
        event.type = REPLICA_BECOME;
        event.become.leader_epoch = first;
        event.become.partition_epoch = second;
        event.become.self = infos[0].broker;
        event.become.replicas = infos;
        event.become.count = (uint32_t)count - 2;
        event.become.end = event.become.durable = at(script->end);
        event.become.high_watermark = at(0);
        assert_true(replica_leader_reserve(&script->leader, event.become.count));
    } else if (!strcmp(words[0], "append")) {
        script->end += first;
        event.type = REPLICA_APPENDED;
        event.appended.end = at(script->end);
    } else if (!strcmp(words[0], "durable")) {
        event.type = REPLICA_DURABLE;
        event.durable.end = at(script->end);
    } else if (!strcmp(words[0], "fetch")) {
        event.type = REPLICA_FETCHED;
        event.fetched.broker = first;
        event.fetched.end = at(atoi(words[2]));
        event.fetched.epoch = count > 3 ? atoi(words[3]) : 1;
    } else if (!strcmp(words[0], "time")) {
        time_ms until = script->now + atoi(words[1]), due;
        while ((due = replica_leader_deadline(&script->leader)) <= until) {
            if (due > script->now) script->now = due;
            struct replica_event tick = {.type = REPLICA_TIME};
            step(script, &tick);
            assert_true(replica_leader_deadline(&script->leader) > script->now); /* no turning in place */
        }
        script->now = until;
        return;
    } else if (!strcmp(words[0], "committed")) {
        event.type = REPLICA_ISR_ANSWER;
        event.isr.answer = REPLICA_ISR_COMMITTED;
        event.isr.leader_epoch = first;
        event.isr.partition_epoch = second;
        for (int i = 2; i < count; i++) isr[i - 2] = atoi(words[i]);
        event.isr.isr = isr;
        event.isr.isr_count = (uint32_t)count - 2;
    } else if (!strcmp(words[0], "resign")) {
        event.type = REPLICA_RESIGN;
    } else if (!strcmp(words[0], "min")) {
        event.type = REPLICA_SETTINGS;
        event.settings.min_isr = first;
        event.settings.lag_ms_max = 100;
        event.settings.fsync = script->leader.fsync;
    } else {
        event.type = REPLICA_ISR_ANSWER;
        event.isr.answer = !strcmp(words[0], "retry") ? REPLICA_ISR_RETRY : !strcmp(words[0], "revert") ? REPLICA_ISR_REVERT : REPLICA_ISR_WAIT;
    }
    step(script, &event);
}

static void run(bool fsync, int min_isr, const char *text) {
    static char bytes[1 << 16];
    struct script script = {.now = 1000};
    pool_init(&script.pool, 0, 0);
    text_init(&script.out, bytes, sizeof bytes);
    replica_leader_init(&script.leader, &script.pool, fsync, min_isr, 100);
    char *copy = strdup(text), *place = NULL;
    for (char *line = strtok_r(copy, "\n", &place); line; line = strtok_r(NULL, "\n", &place)) {
        if (strncmp(line, "> ", 2)) continue;
        text_add(&script.out, "%s\n", line);
        char *words[12] = {0}, *inner = NULL;
        int count = 0;
        for (char *word = strtok_r(line + 2, " ", &inner); word; word = strtok_r(NULL, " ", &inner)) words[count++] = word;
        run_line(&script, words, count);
        text_add(&script.out, "  ");
        replica_leader_text(&script.leader, &script.out);
        text_add(&script.out, "\n");
    }
    if (strcmp(bytes, text)) fprintf(stderr, "what came of it:\n%s", bytes);
    assert_string_equal(bytes, text);
    free(copy);
    replica_leader_destroy(&script.leader);
    pool_destroy(&script.pool);
}

/* ---- Transcripts */

/* A single replica's high watermark is its end as soon as it is appended, where durability is the page cache's. */
TEST(leader_alone_in_page_cache_mode) {
    run(false, 1,
        "> become 1/0 1:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at\n"
        "> append 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 5 min 1 isr [1] at\n"
        "> durable\n"
        "  leader 1 epoch 1/0 end 5 durable 5 hw 5 min 1 isr [1] at\n"
        "> append 2\n"
        "  high watermark 7\n"
        "  leader 1 epoch 1/0 end 7 durable 5 hw 7 min 1 isr [1] at\n");
}

/* And as soon as it is flushed, and not before, where durability is the disk's. */
TEST(leader_alone_in_fsync_mode) {
    run(true, 1,
        "> become 1/0 1:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1] at\n"
        "> durable\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 5 durable 5 hw 5 min 1 isr [1] at\n"
        "> append 2\n"
        "  leader 1 epoch 1/0 end 7 durable 5 hw 5 min 1 isr [1] at\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 8 durable 5 hw 5 min 1 isr [1] at\n"
        "> durable\n"
        "  high watermark 8\n"
        "  leader 1 epoch 1/0 end 8 durable 8 hw 8 min 1 isr [1] at\n");
}

/* The high watermark is the lowest end in the ISR. A member that has not fetched in this epoch holds it back. */
TEST(leader_waits_for_the_isr) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr 3:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2 3] at 2:? 3:?\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2 3] at 2:? 3:?\n"
        "> fetch 2 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2 3] at 2:5 3:?\n"
        "> fetch 3 3\n"
        "  high watermark 3\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 3 min 1 isr [1 2 3] at 2:5 3:3\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 3 min 1 isr [1 2 3] at 2:5 3:3\n"
        "> fetch 3 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 5 min 1 isr [1 2 3] at 2:5 3:5\n"
        "> fetch 2 10\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 5 min 1 isr [1 2 3] at 2:10 3:5\n"
        "> fetch 3 10\n"
        "  high watermark 10\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 10 min 1 isr [1 2 3] at 2:10 3:10\n");
}

/* In fsync mode followers may be ahead of the leader's own flush: it counts like any other. */
TEST(leader_counts_its_own_disk_last) {
    run(true, 2,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 2 isr [1 2] at 2:?\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 2 isr [1 2] at 2:?\n"
        "> fetch 2 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 2 isr [1 2] at 2:5\n"
        "> durable\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 5 durable 5 hw 5 min 2 isr [1 2] at 2:5\n");
}

/* A follower that has not been at the end for longer than the lag allows is to leave; until the controller has
 * committed that, it counts. */
TEST(leader_shrinks_the_isr) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr 3:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2 3] at 2:? 3:?\n"
        "> fetch 2 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2 3] at 2:0 3:?\n"
        "> fetch 3 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2 3] at 2:0 3:0\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2 3] at 2:0 3:0\n"
        "> fetch 2 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2 3] at 2:5 3:0\n"
        "> time +100\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2 3] at 2:5 3:0\n"
        "> time +1\n"
        "  wants isr 1 2 after 1/0\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2 3-] at 2:5 3:0\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 6 durable 0 hw 0 min 1 isr [1 2 3-] at 2:5 3:0\n"
        "> fetch 2 6\n"
        "  leader 1 epoch 1/0 end 6 durable 0 hw 0 min 1 isr [1 2 3-] at 2:6 3:0\n"
        "> committed 1/1 1 2\n"
        "  high watermark 6\n"
        "  leader 1 epoch 1/1 end 6 durable 0 hw 6 min 1 isr [1 2] at 2:6 3:0\n"
        "> time +1000\n"
        "  leader 1 epoch 1/1 end 6 durable 0 hw 6 min 1 isr [1 2] at 2:6 3:0\n"
        "> committed 1/2 1\n"
        "  leader 1 epoch 1/1 end 6 durable 0 hw 6 min 1 isr [1 2] at 2:6 3:0\n"
        "> append 1\n"
        "  leader 1 epoch 1/1 end 7 durable 0 hw 6 min 1 isr [1 2] at 2:6 3:0\n"
        "> time +1000\n"
        "  wants isr 1 after 1/1\n"
        "  leader 1 epoch 1/1 end 7 durable 0 hw 6 min 1 isr [1 2-] at 2:6 3:0\n");
}

/* Followers at the end are in sync however long ago they fetched. */
TEST(leader_idle_needs_no_clock) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> append 3\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 3\n"
        "  high watermark 3\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 3 min 1 isr [1 2] at 2:3\n"
        "> time +100000\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 3 min 1 isr [1 2] at 2:3\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 3 min 1 isr [1 2] at 2:3\n"
        "> time +1\n"
        "  wants isr 1 after 1/0\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 3 min 1 isr [1 2-] at 2:3\n");
}

/* A follower that always has by its next fetch what we had at its last one is caught up as of that, though never at the end. */
TEST(leader_slow_follower_that_keeps_up) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> time +40\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> fetch 2 0\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> time +40\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> fetch 2 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 5 min 1 isr [1 2] at 2:5\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 15 durable 0 hw 5 min 1 isr [1 2] at 2:5\n"
        "> time +40\n"
        "  leader 1 epoch 1/0 end 15 durable 0 hw 5 min 1 isr [1 2] at 2:5\n"
        "> fetch 2 10\n"
        "  high watermark 10\n"
        "  leader 1 epoch 1/0 end 15 durable 0 hw 10 min 1 isr [1 2] at 2:10\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 20 durable 0 hw 10 min 1 isr [1 2] at 2:10\n"
        "> time +40\n"
        "  leader 1 epoch 1/0 end 20 durable 0 hw 10 min 1 isr [1 2] at 2:10\n"
        "> fetch 2 15\n"
        "  high watermark 15\n"
        "  leader 1 epoch 1/0 end 20 durable 0 hw 15 min 1 isr [1 2] at 2:15\n"
        "> time +80\n"
        "  wants isr 1 after 1/0\n"
        "  leader 1 epoch 1/0 end 20 durable 0 hw 15 min 1 isr [1 2-] at 2:15\n"
        "> time +1\n"
        "  leader 1 epoch 1/0 end 20 durable 0 hw 15 min 1 isr [1 2-] at 2:15\n");
}

/* A follower enters when it has reached the high watermark; from when it is asked for, the high watermark waits for it,
 * as it does for one that is caught up anyway. */
TEST(leader_expands_the_isr) {
    run(false, 1,
        "> become 1/0 1:isr 2\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:?\n"
        "> append 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 5 min 1 isr [1] at 2:?\n"
        "> fetch 2 3\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 5 min 1 isr [1] at 2:3\n"
        "> append 2\n"
        "  high watermark 7\n"
        "  leader 1 epoch 1/0 end 7 durable 0 hw 7 min 1 isr [1] at 2:3\n"
        "> fetch 2 7\n"
        "  wants isr 1 2 after 1/0\n"
        "  leader 1 epoch 1/0 end 7 durable 0 hw 7 min 1 isr [1 2+] at 2:7\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 8 durable 0 hw 7 min 1 isr [1 2+] at 2:7\n"
        "> committed 1/1 1 2\n"
        "  leader 1 epoch 1/1 end 8 durable 0 hw 7 min 1 isr [1 2] at 2:7\n"
        "> fetch 2 8\n"
        "  high watermark 8\n"
        "  leader 1 epoch 1/1 end 8 durable 0 hw 8 min 1 isr [1 2] at 2:8\n");
}

/* Not one that is fenced, about to shut down, of another life than the one that is registered, or that has not come
 * to where this epoch begins. */
TEST(leader_expands_only_with_who_may) {
    run(false, 1,
        "> become 1/0 1:isr 2:fenced 3:leaving 4@7\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:? 3:? 4:?\n"
        "> fetch 2 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:0 3:? 4:?\n"
        "> fetch 3 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:0 3:0 4:?\n"
        "> fetch 4 0 6\n"
        "  fetch refused: an older life\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:0 3:0 4:?\n"
        "> fetch 4 0 8\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:0 3:0 4:0\n"
        "> fetch 4 0 7\n"
        "  wants isr 1 4 after 1/0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 4+] at 2:0 3:0 4:0\n");
}

/* The start of the epoch counts also where the high watermark is still below it. */
TEST(leader_expands_from_its_epoch_start_on) {
    run(false, 2,
        "> become 1/0 1:isr 2:isr 3\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 2 isr [1 2] at 2:? 3:?\n"
        "> append 10\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 0 min 2 isr [1 2] at 2:? 3:?\n"
        "> become 2/1 1:isr 2:isr 3\n"
        "  leader 1 epoch 2/1 end 10 durable 10 hw 0 min 2 isr [1 2] at 2:? 3:?\n"
        "> fetch 3 8\n"
        "  leader 1 epoch 2/1 end 10 durable 10 hw 0 min 2 isr [1 2] at 2:? 3:8\n"
        "> fetch 3 10\n"
        "  wants isr 1 2 3 after 2/1\n"
        "  leader 1 epoch 2/1 end 10 durable 10 hw 0 min 2 isr [1 2 3+] at 2:? 3:10\n");
}

/* While fewer are in sync than min.insync.replicas says, the high watermark stands still, though all of them hold more. */
TEST(leader_freezes_below_min_isr) {
    run(false, 2,
        "> become 1/0 1:isr 2:isr 3:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 2 isr [1 2 3] at 2:? 3:?\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 2 isr [1 2 3] at 2:? 3:?\n"
        "> fetch 2 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 0 min 2 isr [1 2 3] at 2:5 3:?\n"
        "> fetch 3 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/0 end 5 durable 0 hw 5 min 2 isr [1 2 3] at 2:5 3:5\n"
        "> append 5\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 5 min 2 isr [1 2 3] at 2:5 3:5\n"
        "> time +101\n"
        "  wants isr 1 after 1/0\n"
        "  leader 1 epoch 1/0 end 10 durable 0 hw 5 min 2 isr [1 2- 3-] at 2:5 3:5\n"
        "> committed 1/1 1\n"
        "  leader 1 epoch 1/1 end 10 durable 0 hw 5 min 2 isr [1] at 2:5 3:5\n"
        "> append 1\n"
        "  leader 1 epoch 1/1 end 11 durable 0 hw 5 min 2 isr [1] at 2:5 3:5\n"
        "> fetch 2 11\n"
        "  wants isr 1 2 after 1/1\n"
        "  leader 1 epoch 1/1 end 11 durable 0 hw 5 min 2 isr [1 2+] at 2:11 3:5\n"
        "> committed 1/2 1 2\n"
        "  high watermark 11\n"
        "  leader 1 epoch 1/2 end 11 durable 0 hw 11 min 2 isr [1 2] at 2:11 3:5\n");
}

/* One cannot ask for more than there are. */
TEST(leader_min_isr_is_at_most_the_replicas) {
    run(false, 3,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 2 isr [1 2] at 2:?\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 0 min 2 isr [1 2] at 2:?\n"
        "> fetch 2 1\n"
        "  high watermark 1\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 1 min 2 isr [1 2] at 2:1\n"
        "> min 1\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 1 min 1 isr [1 2] at 2:1\n");
}

/* Retried, what was wanted is sent again. Reverted, it is forgotten, and the next fetch may ask anew. Told to wait, the
 * maximal ISR stays until the metadata say what was committed. */
TEST(leader_isr_answers) {
    run(false, 1,
        "> become 1/0 1:isr 2 3\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:? 3:?\n"
        "> fetch 2 0\n"
        "  wants isr 1 2 after 1/0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2+] at 2:0 3:?\n"
        "> retry\n"
        "  wants isr 1 2 after 1/0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2+] at 2:0 3:?\n"
        "> fetch 3 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2+] at 2:0 3:0\n"
        "> revert\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1] at 2:0 3:0\n"
        "> append 3\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 0 min 1 isr [1] at 2:0 3:0\n"
        "> fetch 2 3\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 0 min 1 isr [1] at 2:3 3:0\n"
        "> time +500\n"
        "  high watermark 3\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 3 min 1 isr [1] at 2:3 3:0\n"
        "> fetch 2 3\n"
        "  wants isr 1 2 after 1/0\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 3 min 1 isr [1 2+] at 2:3 3:0\n"
        "> wait\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 3 min 1 isr [1 2+] at 2:3 3:0\n"
        "> fetch 2 3\n"
        "  leader 1 epoch 1/0 end 3 durable 0 hw 3 min 1 isr [1 2+] at 2:3 3:0\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 3 min 1 isr [1 2+] at 2:3 3:0\n"
        "> become 1/0 1:isr 2 3\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 3 min 1 isr [1 2+] at 2:3 3:0\n"
        "> become 1/4 1:isr 2 3\n"
        "  leader 1 epoch 1/4 end 4 durable 0 hw 3 min 1 isr [1] at 2:3 3:0\n"
        "> fetch 3 4\n"
        "  wants isr 1 3 after 1/4\n"
        "  leader 1 epoch 1/4 end 4 durable 0 hw 3 min 1 isr [1 3+] at 2:3 3:4\n");
}

/* Of an earlier epoch, or of an earlier state of the partition. */
TEST(leader_ignores_old_answers) {
    run(false, 1,
        "> become 1/5 1:isr 2\n"
        "  leader 1 epoch 1/5 end 0 durable 0 hw 0 min 1 isr [1] at 2:?\n"
        "> fetch 2 0\n"
        "  wants isr 1 2 after 1/5\n"
        "  leader 1 epoch 1/5 end 0 durable 0 hw 0 min 1 isr [1 2+] at 2:0\n"
        "> committed 1/4 1\n"
        "  leader 1 epoch 1/5 end 0 durable 0 hw 0 min 1 isr [1 2+] at 2:0\n"
        "> committed 0/9 1\n"
        "  leader 1 epoch 1/5 end 0 durable 0 hw 0 min 1 isr [1 2+] at 2:0\n"
        "> committed 1/6 1 2\n"
        "  leader 1 epoch 1/6 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> committed 1/7 1\n"
        "  leader 1 epoch 1/6 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n");
}

/* A lower epoch changes nothing; the same partition epoch only what is known of brokers. */
TEST(leader_ignores_old_metadata) {
    run(false, 1,
        "> become 3/5 1:isr 2:isr\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> become 2/9 1:isr\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> become 3/4 1:isr\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 0 1\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> become 3/5 1:isr 2:isr@4\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> fetch 2 0 1\n"
        "  fetch refused: an older life\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> fetch 2 0 4\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> fetch 9 0\n"
        "  fetch refused\n"
        "  leader 1 epoch 3/5 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n");
}

/* Replicas are added and taken away while it leads; what is known of the others stays. */
TEST(leader_reassignment) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> append 4\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 4\n"
        "  high watermark 4\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 4 min 1 isr [1 2] at 2:4\n"
        "> become 1/1 1:isr 2:isr 3 4\n"
        "  leader 1 epoch 1/1 end 4 durable 0 hw 4 min 1 isr [1 2] at 2:4 3:? 4:?\n"
        "> fetch 3 4\n"
        "  wants isr 1 2 3 after 1/1\n"
        "  leader 1 epoch 1/1 end 4 durable 0 hw 4 min 1 isr [1 2 3+] at 2:4 3:4 4:?\n"
        "> committed 1/2 1 2 3\n"
        "  leader 1 epoch 1/2 end 4 durable 0 hw 4 min 1 isr [1 2 3] at 2:4 3:4 4:?\n"
        "> become 1/3 1:isr 3:isr\n"
        "  leader 1 epoch 1/3 end 4 durable 0 hw 4 min 1 isr [1 3] at 3:4\n"
        "> append 1\n"
        "  leader 1 epoch 1/3 end 5 durable 0 hw 4 min 1 isr [1 3] at 3:4\n"
        "> fetch 3 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 1/3 end 5 durable 0 hw 5 min 1 isr [1 3] at 3:5\n");
}

/* A new epoch of the same leader: followers must fetch anew, the high watermark does not fall. */
TEST(leader_again) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> append 4\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 4\n"
        "  high watermark 4\n"
        "  leader 1 epoch 1/0 end 4 durable 0 hw 4 min 1 isr [1 2] at 2:4\n"
        "> become 2/1 1:isr 2:isr\n"
        "  leader 1 epoch 2/1 end 4 durable 4 hw 4 min 1 isr [1 2] at 2:?\n"
        "> append 1\n"
        "  leader 1 epoch 2/1 end 5 durable 4 hw 4 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 5\n"
        "  high watermark 5\n"
        "  leader 1 epoch 2/1 end 5 durable 4 hw 5 min 1 isr [1 2] at 2:5\n"
        "> resign\n"
        "  not leader\n"
        "> fetch 2 5\n"
        "  fetch refused\n"
        "  not leader\n");
}

/* A shrink that the controller refuses for now is asked for again half a second later, not at once. */
TEST(leader_asks_again_after_a_pause) {
    run(false, 1,
        "> become 1/0 1:isr 2:isr\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:?\n"
        "> fetch 2 0\n"
        "  leader 1 epoch 1/0 end 0 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> append 1\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> time +101\n"
        "  wants isr 1 after 1/0\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 0 min 1 isr [1 2-] at 2:0\n"
        "> revert\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> time +499\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 0 min 1 isr [1 2] at 2:0\n"
        "> time +1\n"
        "  wants isr 1 after 1/0\n"
        "  leader 1 epoch 1/0 end 1 durable 0 hw 0 min 1 isr [1 2-] at 2:0\n");
}
