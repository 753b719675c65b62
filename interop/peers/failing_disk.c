// A disk that fails, for a process that is started with this before libc (LD_PRELOAD). While the file $FAILING_DISK_FLAG holds the number of an
// error, whatever would be written to a file below $FAILING_DISK_DIR fails with it: what a broken device (EIO) or a file system that the kernel
// has made read-only (EROFS) do to files that are open.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_open)(const char *, int, ...);

__attribute__((constructor)) static void find_the_real_ones(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_open = dlsym(RTLD_NEXT, "open64");
}

static int is_below(const char *path) {
    const char *dir = getenv("FAILING_DISK_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

// The error that is wanted now; 0: none.
static int wanted(void) {
    const char *flag = getenv("FAILING_DISK_FLAG");
    char text[8] = {0};
    int file = flag && real_open ? real_open(flag, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atoi(text) : 0;
}

static int fails(int file) {
    int before = errno, error = wanted();
    errno = before;
    if (!error) return 0;
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return 0;
    path[length] = 0;
    if (!is_below(path)) return 0;
    errno = error;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t length) { return fails(file) ? -1 : real_write(file, bytes, length); }
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) { return fails(file) ? -1 : real_pwrite(file, bytes, length, at); }
ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return fails(file) ? -1 : real_pwrite(file, bytes, length, at); }
int fsync(int file) { return fails(file) ? -1 : real_fsync(file); }
int fdatasync(int file) { return fails(file) ? -1 : real_fdatasync(file); }
int ftruncate64(int file, off64_t length) { return fails(file) ? -1 : real_ftruncate(file, length); }
int ftruncate(int file, off_t length) { return fails(file) ? -1 : real_ftruncate(file, length); }

static int opened(const char *path, int flags, mode_t mode) {
    int error = (flags & (O_WRONLY | O_RDWR | O_CREAT)) && is_below(path) ? wanted() : 0;
    if (error) {
        errno = error;
        return -1;
    }
    return real_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(path, flags, mode);
}
