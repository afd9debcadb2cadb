// A disk that runs full: files under FULL_DISK_FOLDER may together grow by FULL_DISK_BYTES, then ENOSPC.
// A longer file without content, as ftruncate makes it, takes no room. Loaded into a process with LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long long room(long long take) {
    static long long left = -1;
    if (left < 0) {
        const char *bytes = getenv("FULL_DISK_BYTES");
        left = bytes ? atoll(bytes) : 0;
    }
    long long before = __atomic_load_n(&left, __ATOMIC_SEQ_CST);
    do {
        if (take > before) return -1;
    } while (!__atomic_compare_exchange_n(&left, &before, before - take, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return 0;
}

static int on_disk(int file) {
    const char *folder = getenv("FULL_DISK_FOLDER");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!folder || length <= 0) return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

// Whether the file may reach `end`.
static int full(int file, long long end) {
    struct stat stat;
    if (!on_disk(file) || fstat(file, &stat) != 0 || !S_ISREG(stat.st_mode) || end <= stat.st_size) return 0;
    if (room(end - stat.st_size) == 0) return 0;
    errno = ENOSPC;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    off_t at = lseek(file, 0, SEEK_CUR);
    if (at >= 0 && full(file, at + (long long)count)) return -1;
    return NEXT(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return full(file, at + (long long)count) ? -1 : NEXT(pwrite)(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return full(file, at + (long long)count) ? -1 : NEXT(pwrite64)(file, bytes, count, at);
}

int posix_fallocate(int file, off_t at, off_t length) {
    return full(file, at + length) ? ENOSPC : NEXT(posix_fallocate)(file, at, length);
}

int fallocate(int file, int mode, off_t at, off_t length) {
    return full(file, at + length) ? -1 : NEXT(fallocate)(file, mode, at, length);
}
