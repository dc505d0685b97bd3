/* raft/role.h - what the files of this folder ask of each other. A step sets raft->now_ms, random and effects for all
 * of them; a function of a role is called in that role only.
 */
#pragma once
#include "raft/raft.h"

/* ---- raft.c: effects, peers */
struct raft_effect *raft_push(struct raft *raft, enum raft_effect_type type);
void raft_fatal(struct raft *raft, const char *why);
/* Epoch, leader and vote as they are now, durable before what is pushed afterwards. */
void raft_persist(struct raft *raft);
/* A new role: answers to what was asked in the old one mean nothing any more. */
void raft_changed(struct raft *raft, enum raft_role role);
int64_t raft_election_timeout(struct raft *raft); /* election.timeout.ms and as much again at random */
uint64_t raft_draw(struct raft *raft);
struct raft_answer *raft_answer(struct raft *raft, enum raft_effect_type type, enum raft_call call, uint64_t token, enum raft_error error);

bool raft_peer_free(struct raft *raft, int32_t id);  /* nothing in flight, not backing off */
bool raft_peer_failed(const struct raft *raft, int32_t id); /* its last request was lost */
bool raft_any_in_flight(const struct raft *raft);
/* False: busy, backing off, or nobody knows where it is. */
bool raft_send(struct raft *raft, int32_t id, const struct raft_request *request);
bool raft_send_to(struct raft *raft, int32_t id, struct raft_listener at, const struct raft_request *request, uint32_t *request_id);
/* A bootstrap server (or voter) that is free. False: none, or something is in flight already. */
bool raft_bootstrap_pick(struct raft *raft, int32_t *id);
uint32_t raft_majority(uint32_t voters);

/* ---- What everybody learns from each other. False: it was refused (the machine is dead then). */
bool raft_learn(struct raft *raft, leader_epoch epoch, int32_t leader_id, const struct raft_listeners *where);
/* KRaft's rules that hold for every answer: ENDED what it said is used up, FAILED try again later, OPEN it is the
 * caller's to read. */
enum raft_verdict { RAFT_VERDICT_OPEN, RAFT_VERDICT_ENDED, RAFT_VERDICT_FAILED };
enum raft_verdict raft_common_response(struct raft *raft, const struct raft_response *response);
enum raft_error raft_check_voter_request(const struct raft *raft, leader_epoch epoch, int32_t sender);
enum raft_error raft_check_leader_request(const struct raft *raft, leader_epoch epoch);
bool raft_key_is_ours(const struct raft *raft, struct raft_key voter); /* a request's voter key: for us? */

/* ---- election.c */
void raft_become_unattached(struct raft *raft, leader_epoch epoch, int32_t leader_id);
void raft_become_prospective(struct raft *raft);
void raft_become_candidate(struct raft *raft);
void raft_open_ballots(struct raft *raft);
bool raft_poll_unattached(struct raft *raft);  /* all polls: true when the role has changed */
bool raft_poll_prospective(struct raft *raft);
bool raft_poll_candidate(struct raft *raft);
void raft_on_vote(struct raft *raft, const struct raft_request *request);
bool raft_on_vote_response(struct raft *raft, const struct raft_response *response); /* responses: false: it failed */

/* ---- follower.c */
void raft_become_follower(struct raft *raft, leader_epoch epoch, int32_t leader_id, const struct raft_listeners *where);
bool raft_poll_follower(struct raft *raft);
void raft_poll_fetch_anywhere(struct raft *raft); /* from a bootstrap server: who is the leader? */
void raft_on_begin(struct raft *raft, const struct raft_request *request);
void raft_on_end(struct raft *raft, const struct raft_request *request);
bool raft_on_fetch_response(struct raft *raft, const struct raft_response *response);
bool raft_on_change_response(struct raft *raft, const struct raft_response *response); /* add, remove, update */
void raft_follower_log_moved(struct raft *raft);

/* ---- leader.c */
void raft_become_leader(struct raft *raft);
void raft_become_resigned(struct raft *raft);
void raft_leave_leader(struct raft *raft); /* whatever comes next: who waits is answered */
bool raft_poll_leader(struct raft *raft);
bool raft_poll_resigned(struct raft *raft);
void raft_on_fetch(struct raft *raft, const struct raft_request *request);
bool raft_on_begin_response(struct raft *raft, const struct raft_response *response);
bool raft_on_end_response(struct raft *raft, const struct raft_response *response);
void raft_leader_log_moved(struct raft *raft);
void raft_leader_voters_changed(struct raft *raft);
void raft_leader_heard(struct raft *raft, struct raft_key replica); /* for check-quorum */
struct raft_replica *raft_leader_replica(struct raft *raft, struct raft_key key); /* NULL: not known */

/* ---- change.c: the voters change */
void raft_on_add(struct raft *raft, const struct raft_request *request);
void raft_on_remove(struct raft *raft, const struct raft_request *request);
void raft_on_update(struct raft *raft, const struct raft_request *request);
void raft_on_upgrade(struct raft *raft, const struct raft_event *event);
bool raft_on_api_versions_response(struct raft *raft, const struct raft_response *response);
void raft_change_committed(struct raft *raft); /* the high watermark moved */
void raft_change_poll(struct raft *raft);
void raft_change_fail(struct raft *raft, enum raft_error error);

/* ---- snapshot.c */
struct raft_epoch_end { leader_epoch epoch; log_offset end; };
/* Where an epoch ends, from what the log said (or did not). */
struct raft_epoch_end raft_resolve_epoch(const struct raft *raft, leader_epoch asked, leader_epoch known, log_offset known_end);
enum raft_validity { RAFT_VALID, RAFT_DIVERGING, RAFT_NEEDS_SNAPSHOT };
enum raft_validity raft_validate_fetch(const struct raft *raft, const struct raft_fetch_request *fetch, struct raft_epoch_end *diverging);
void raft_download_begin(struct raft *raft, struct raft_snapshot_id id);
void raft_download_drop(struct raft *raft);
void raft_download_send(struct raft *raft);
void raft_on_fetch_snapshot(struct raft *raft, const struct raft_request *request);
bool raft_on_fetch_snapshot_response(struct raft *raft, const struct raft_response *response);
