/* sim/sim_disk_inner.h - between sim_disk.c (what is on the platter) and sim_files.c (what programs can call).
 *
 * An inode has two versions of its content: `seen` by programs and `kept` by the platter. The changes that lead from
 * kept to seen are listed in the order in which they were made; a sync moves them over, a power cut decides each.
 * A directory has two lists of names likewise, and the disk has one journal of changes to names.
 */
#pragma once
#include "sim/sim_disk.h"

struct change { /* of content */
    struct change *next;
    uint64_t sequence;
    bool truncates;
    uint64_t offset, size; /* truncates: `size` is the new one */
    uint8_t bytes[];
};

struct version {
    uint8_t **pages; /* NULL: zeros */
    uint64_t page_count, size;
    int64_t modified_ns;
};

struct name { char *text; struct inode *inode; };
struct names { struct name *items; uint32_t count, capacity; };

enum page_flag { PAGE_RESERVED = 1, PAGE_COLD = 2 };

struct inode {
    struct list all;
    uint64_t number;
    uint64_t device; /* sim_disk_set_devices: of the directory in the root that it is below */
    bool is_directory;
    uint32_t mode;
    uint32_t refs;  /* names in both versions, steps of the journal, open files; 0: freed */
    uint32_t links; /* names seen by programs */
    uint32_t opens; /* files of living users  */
    struct version seen, kept;
    uint8_t *page_flags;
    uint64_t page_flags_count;
    bool differs;   /* seen may not be kept plus changes: a failed sync lost something */
    struct change *first, *last;
    uint32_t change_count;
    struct io_file *lock;
    struct names seen_names, kept_names;
};

enum step_kind { STEP_LINK, STEP_UNLINK, STEP_RENAME };
struct step { /* of the journal of names */
    struct list order;
    enum step_kind kind;
    uint64_t sequence;
    struct inode *inode, *from, *to; /* `from`: directory of the name; `to`: a rename's second one */
    char *from_name, *to_name;
};

struct fault_rule { struct sim_disk_fault fault; uint64_t met; bool stands; };

struct sim_disk {
    struct sim *sim;
    struct pool *pool;
    uint32_t where;
    struct random random;
    uint64_t capacity_pages, used_pages; /* capacity 0: no end */
    uint64_t inode_next, sequence;
    struct inode *root;
    struct list inodes, journal, users;
    int64_t (*wall_ns)(void *);
    void *wall_context;
    uint64_t operations, cut_at;
    bool cut, has_devices;
    void (*on_fault)(void *, const char *);
    void *on_fault_context;
    struct fault_rule rules[SIM_DISK_FAULTS_MAX];
    struct sim_disk_trouble trouble;
};

struct sim_disk_user {
    struct list others;
    struct sim_disk *disk;
    struct list files;
    bool dead;
};

struct io_file {
    struct file_ref ref; /* first, as the seam asks */
    struct list others;
    struct sim_disk_user *user;
    struct inode *inode;
    unsigned flags;
    char *path;      /* as it was opened: for the rules of faults */
};

struct inode *inode_new(struct sim_disk *disk, bool is_directory);
void inode_hold(struct inode *inode);
void inode_drop(struct sim_disk *disk, struct inode *inode);
/* What nobody sees any more takes no room. Call after links or opens fell. */
void inode_unseen(struct sim_disk *disk, struct inode *inode);

struct inode *names_find(const struct names *names, const char *name);
void names_set(struct sim_disk *disk, struct names *names, const char *name, struct inode *inode);
void names_remove(struct sim_disk *disk, struct names *names, const char *name);

/* Changes seen by programs, and notes them as not yet kept. */
uint64_t content_pages_missing(const struct inode *inode, uint64_t offset, uint64_t size); /* room a write needs */
void content_write(struct sim_disk *disk, struct inode *inode, const void *bytes, uint64_t size, uint64_t offset);
void content_truncate(struct sim_disk *disk, struct inode *inode, uint64_t size);
void content_reserve(struct sim_disk *disk, struct inode *inode, uint64_t offset, uint64_t size);
void content_sync(struct sim_disk *disk, struct inode *inode, uint64_t mark, bool with_time);
void content_sync_failed(struct sim_disk *disk, struct inode *inode, uint64_t mark);
uint64_t version_read(const struct version *version, void *target, uint64_t size, uint64_t offset);
void version_poke(struct sim_disk *disk, struct version *version, uint64_t offset, uint8_t mask);
uint8_t *page_flag_at(struct inode *inode, uint64_t page); /* NULL: none was ever set there */

void journal_link(struct sim_disk *disk, struct inode *directory, const char *name, struct inode *inode);
void journal_unlink(struct sim_disk *disk, struct inode *directory, const char *name);
void journal_rename(struct sim_disk *disk, struct inode *from, const char *from_name, struct inode *to, const char *to_name);
void journal_sync(struct sim_disk *disk, struct inode *directory, uint64_t mark);
void journal_sync_device(struct sim_disk *disk, uint64_t device, uint64_t mark);
