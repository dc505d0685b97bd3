#include "io/io_test.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL(name, ...) files.vtable->name(files.self, __VA_ARGS__)

/* A file's bytes and size are what was written, truncated and allocated; a read is short only at the end. */
TEST(files_keep_what_is_written) {
    struct io_files files = io_files_real();
    struct io_file *file;
    char bytes[16] = {0};
    folder_make();
    assert_int_equal(CALL(open, &file, folder_path("a"), IO_READ | IO_WRITE), -ENOENT);
    assert_int_equal(CALL(open, &file, folder_path("a"), IO_READ | IO_WRITE | IO_CREATE | IO_EXCLUSIVE), 0);
    assert_int_equal(CALL(write, file, "0123456789", 10, 0), 10);
    assert_int_equal(CALL(write, file, "ab", 2, 14), 2);
    assert_int_equal(CALL(size, file), 16);
    assert_int_equal(CALL(read, file, bytes, 16, 0), 16);
    assert_memory_equal(bytes, "0123456789\0\0\0\0ab", 16);
    assert_int_equal(CALL(truncate, file, 5), 0);
    assert_int_equal(CALL(read, file, bytes, 16, 2), 3);
    assert_int_equal(CALL(read, file, bytes, 16, 5), 0);
    assert_int_equal(CALL(allocate, file, 0, MIB(1)), 0);
    assert_int_equal(CALL(size, file), 5);
    struct io_stat info;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(CALL(stat, folder_path("a"), &info), 0);
    assert_int_equal(info.size, 5);
    assert_true(info.blocks_bytes >= MIB(1));
    assert_false(info.is_directory);
    assert_int_equal(info.mode, 0644 & ~mask);
    assert_int_equal(CALL(sync_data, file), 0);
    assert_int_equal(CALL(sync_file, file), 0);
    io_file_drop(file);
    assert_int_equal(CALL(open, &file, folder_path("a"), IO_WRITE | IO_CREATE | IO_EXCLUSIVE), -EEXIST);
    assert_int_equal(CALL(open, &file, folder_path("a"), IO_WRITE | IO_TRUNCATE), 0);
    assert_int_equal(CALL(size, file), 0);
    assert_int_equal(CALL(read, file, bytes, 1, 0), -EBADF);
    io_file_drop(file);
    folder_remove();
}

/* A file stays readable under its counted handle after it was unlinked, until the last count goes. */
TEST(files_live_as_long_as_their_handles) {
    struct io_files files = io_files_real();
    struct io_file *file;
    char byte;
    folder_make();
    assert_int_equal(CALL(open, &file, folder_path("a"), IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(CALL(write, file, "x", 1, 0), 1);
    io_file_hold(file);
    io_file_drop(file);
    assert_int_equal(CALL(unlink, folder_path("a")), 0);
    assert_int_equal(CALL(unlink, folder_path("a")), -ENOENT);
    assert_int_equal(CALL(read, file, &byte, 1, 0), 1);
    io_file_drop(file);
    folder_remove();
}

static int note_name(void *context, const char *name, bool is_directory) {
    strcat(context, name);
    strcat(context, is_directory ? "/ " : " ");
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

/* Names come sorted by bytes, directories are told apart, and a visitor can stop the listing. */
TEST(files_list_is_sorted) {
    static const char *const names[] = {"b", "a", "B", "a-0", "a0", "stop", "zz"};
    struct io_files files = io_files_real();
    struct io_file *file;
    char seen[256] = "";
    folder_make();
    for (size_t i = 0; i < countof(names); i++) {
        assert_int_equal(CALL(open, &file, folder_path(names[i]), IO_WRITE | IO_CREATE), 0);
        io_file_drop(file);
    }
    assert_int_equal(CALL(make_directory, folder_path("dir")), 0);
    assert_int_equal(CALL(make_directory, folder_path("dir")), -EEXIST);
    assert_int_equal(CALL(list, folder_path(""), note_name, seen), 7);
    assert_string_equal(seen, "B a a-0 a0 b dir/ stop ");
    assert_int_equal(CALL(list, folder_path("none"), note_name, seen), -ENOENT);
    folder_remove();
}

/* Rename replaces; times, modes and space are settable and readable; directories and the file system can be synced. */
TEST(files_names_times_and_modes) {
    struct io_files files = io_files_real();
    struct io_file *file;
    struct io_stat info;
    struct io_space space;
    folder_make();
    assert_int_equal(CALL(open, &file, folder_path("a"), IO_WRITE | IO_CREATE), 0);
    assert_int_equal(CALL(write, file, "new", 3, 0), 3);
    io_file_drop(file);
    assert_int_equal(CALL(open, &file, folder_path("b"), IO_WRITE | IO_CREATE), 0);
    io_file_drop(file);
    assert_int_equal(CALL(rename, folder_path("a"), folder_path("b")), 0);
    assert_int_equal(CALL(stat, folder_path("a"), &info), -ENOENT);
    assert_int_equal(CALL(set_modified, folder_path("b"), 1234567890123456789), 0);
    assert_int_equal(CALL(set_mode, folder_path("b"), 0600), 0);
    assert_int_equal(CALL(stat, folder_path("b"), &info), 0);
    assert_int_equal(info.size, 3);
    assert_int_equal(info.modified_ns, 1234567890123456789);
    assert_int_equal(info.mode, 0600);
    assert_int_equal(info.uid, getuid());
    assert_int_equal(CALL(set_modified, folder_path("b"), -1), 0);
    assert_int_equal(CALL(stat, folder_path("b"), &info), 0);
    assert_int_equal(info.modified_ns, -1);
    assert_int_equal(CALL(sync_directory, folder_path("")), 0);
    assert_int_equal(CALL(sync_directory, folder_path("b")), -ENOTDIR);
    assert_int_equal(CALL(sync_file_system, folder_path("")), 0);
    assert_int_equal(CALL(space, folder_path(""), &space), 0);
    assert_true(space.total > 0 && space.available <= space.total);
    folder_remove();
}

/* One holder at a time: a second handle of this process is refused, and so is another process with the classic kind of
 * lock, which is Java's. Closing the holder's file frees it. */
TEST(files_lock_excludes_others) {
    struct io_files files = io_files_real();
    struct io_file *first, *second;
    folder_make();
    assert_int_equal(CALL(open, &first, folder_path(".lock"), IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(CALL(open, &second, folder_path(".lock"), IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(CALL(lock, first), 0);
    assert_int_equal(CALL(lock, second), -EAGAIN);
    pid_t child = fork();
    if (child == 0) {
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int descriptor = open(folder_path(".lock"), O_RDWR);
        _exit(descriptor >= 0 && fcntl(descriptor, F_SETLK, &range) < 0 && (errno == EAGAIN || errno == EACCES) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    io_file_drop(first);
    assert_int_equal(CALL(lock, second), 0);
    io_file_drop(second);
    folder_remove();
}

/* Literals in both directions; what is no literal with a port is refused. */
TEST(addresses_as_text) {
    static const char *const good[] = {"1.2.3.4:9092", "0.0.0.0:0", "[::1]:9092", "[::]:65535", "[2001:db8::ff00:42:8329]:1"};
    static const char *const bad[] = {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3:1", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4: 1", "::1:9092",
                                      "[::1]", "[::1]:", "[::1:9092", "[1.2.3.4]:1", "localhost:9092", "1.2.3.4:000001", "[::1]x:1"};
    struct io_address address;
    char text[IO_ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < countof(good); i++) {
        assert_true(io_address_parse(good[i], &address));
        io_address_text(&address, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < countof(bad); i++) assert_false(io_address_parse(bad[i], &address));
    assert_true(io_address_parse("[::ffff:1.2.3.4]:5", &address));
    io_address_text(&address, text);
    assert_string_equal(text, "1.2.3.4:5");
}
