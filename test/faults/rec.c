/* LD_PRELOAD: records every write, truncation and sync of files whose path holds $RECMATCH into $REC, in the order in which they return.
   One entry: kind (W, T or S), length of the path, path, offset, length of the data, data; integers little-endian. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int recording = -2;
static ssize_t (*real_write)(int, const void *, size_t);

static int recording_fd(void) {
  if (recording == -2) {
    const char *path = getenv("REC");
    recording = path ? open(path, O_CREAT | O_WRONLY | O_APPEND, 0644) : -1;
  }
  return recording;
}

static int wanted(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, 255);
  if (n <= 0) return 0;
  path[n] = 0;
  const char *match = getenv("RECMATCH");
  return match && strstr(path, match) != 0;
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint64_t length) {
  int fd = recording_fd();
  if (fd < 0) return;
  if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
  uint16_t path_length = strlen(path);
  pthread_mutex_lock(&mutex);
  real_write(fd, &kind, 1);
  real_write(fd, &path_length, 2);
  real_write(fd, path, path_length);
  real_write(fd, &offset, 8);
  real_write(fd, &length, 8);
  if (data) real_write(fd, data, length);
  pthread_mutex_unlock(&mutex);
}

#define PWRITE(NAME, OFFSET)                                                    \
  ssize_t NAME(int fd, const void *data, size_t length, OFFSET offset) {        \
    static ssize_t (*real)(int, const void *, size_t, OFFSET);                  \
    if (!real) real = dlsym(RTLD_NEXT, #NAME);                                  \
    ssize_t written = real(fd, data, length, offset);                           \
    char path[256];                                                             \
    if (written > 0 && wanted(fd, path)) note('W', path, offset, data, written); \
    return written;                                                             \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* The log of acknowledgements is appended to. */
ssize_t write(int fd, const void *data, size_t length) {
  if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
  ssize_t written = real_write(fd, data, length);
  char path[256];
  if (written > 0 && fd > 2 && wanted(fd, path)) note('W', path, 0, data, written);
  return written;
}

#define SYNC(NAME)                              \
  int NAME(int fd) {                            \
    static int (*real)(int);                    \
    if (!real) real = dlsym(RTLD_NEXT, #NAME);  \
    int result = real(fd);                      \
    char path[256];                             \
    if (wanted(fd, path)) note('S', path, 0, 0, 0); \
    return result;                              \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(NAME, OFFSET)                       \
  int NAME(int fd, OFFSET length) {                  \
    static int (*real)(int, OFFSET);                 \
    if (!real) real = dlsym(RTLD_NEXT, #NAME);       \
    int result = real(fd, length);                   \
    char path[256];                                  \
    if (wanted(fd, path)) note('T', path, length, 0, 0); \
    return result;                                   \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
