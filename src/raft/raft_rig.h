/* raft/raft_rig.h - for the tests: transcripts of the machine. Events in, lines out, compared with what Kafka's nodes do.
 *
 * Three voters (1, 2, 3) unless a test says otherwise; node 1 is the one under test. Random is 0 in all of them, so that
 * election timeouts are fixed.
 */
#pragma once
#include "raft/raft.h"
#include "test.h"

extern struct raft machine;
extern struct raft_effects effects;      /* of the last step */
extern struct text transcript;
extern int64_t now_ms;
extern const struct raft_start empty_disk;

struct uuid directory(int32_t id);
struct raft_key key(int32_t id);
struct raft_voters voters_of(uint32_t count, bool directories);
struct raft_options options_of(int32_t id);

/* options NULL: the machine was initialised by the test. */
void start(const struct raft_options *options, const struct raft_start *disk);
void start_three(leader_epoch epoch, int32_t leader, struct raft_key voted, log_offset end, leader_epoch last_epoch);
void follow_two(void);   /* node 1 follows node 2 in epoch 5; its log: 20 offsets, the last of epoch 3 */
void lead_three(void);   /* node 1 leads epoch 5; its log: 20 offsets, the last of epoch 3, and the LeaderChange */
void start_dynamic(void);      /* node 1 of voters 1, 2, 3 of kraft.version 1, with a log up to 20 in epoch 4 */
void start_bootstrapped(void); /* node 1, the only voter by the bootstrap snapshot's kraft.version 1, with an empty log */
void lead_dynamic(void); /* node 1 leads epoch 5 with voters 1, 2, 3 of kraft.version 1; all is committed */

/* Events: each writes itself and its effects into the transcript. */
void step(struct raft_event event);
void tick(int64_t after_ms);
void appended(log_offset end, leader_epoch epoch);
void durable(log_offset end);
void respond(struct raft_response response);   /* to the request that is under way to response.from */
void vote_response(int32_t from, enum raft_error error, leader_epoch epoch, int32_t leader, bool granted);
struct raft_response fetched(leader_epoch epoch, int32_t leader);
void request(struct raft_request request);
void begin_from(int32_t leader, leader_epoch epoch);
void vote_from(int32_t id, leader_epoch epoch, log_offset end, leader_epoch last_epoch, bool pre_vote);
void fetch_from(int32_t id, leader_epoch epoch, log_offset offset, leader_epoch last_epoch, log_offset high_watermark);

void say_state(void);
void quiet(void);                /* what came before is another test's matter */
void expect(const char *text);   /* the transcript since the last time */
