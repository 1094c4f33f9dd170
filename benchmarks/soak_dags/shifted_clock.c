/* Moves the wall clock of a process by CLOCK_SHIFT_S seconds, times of files included; the monotonic clock stays.
 *
 * Loaded by LD_PRELOAD. It lets the soak see midnight, and the next day, in minutes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
  static long seconds;
  static int known;
  if (!known) {
    const char *text = getenv("CLOCK_SHIFT_S");
    seconds = text ? atol(text) : 0;
    known = 1;
  }
  return seconds;
}

#define REAL(type, name, ...)                                   \
  static type (*real)(__VA_ARGS__);                             \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

int clock_gettime(clockid_t clock, struct timespec *found) {
  REAL(int, "clock_gettime", clockid_t, struct timespec *);
  int failed = real(clock, found);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) found->tv_sec += shift();
  return failed;
}

time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found) *found = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *found, void *zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  found->tv_sec = now.tv_sec;
  found->tv_usec = now.tv_nsec / 1000;
  return 0;
}

static int moved(int failed, struct stat *found) {
  if (!failed) {
    found->st_mtim.tv_sec += shift();
    found->st_ctim.tv_sec += shift();
    found->st_atim.tv_sec += shift();
  }
  return failed;
}

#define BY_PATH(name)                                           \
  int name(const char *restrict path, struct stat *restrict found) { \
    REAL(int, #name, const char *, struct stat *);              \
    return moved(real(path, found), found);                     \
  }
#define BY_DESCRIPTOR(name)                                     \
  int name(int descriptor, struct stat *found) {                \
    REAL(int, #name, int, struct stat *);                       \
    return moved(real(descriptor, found), found);               \
  }
#define BY_FOLDER(name)                                                              \
  int name(int folder, const char *restrict path, struct stat *restrict found, int flags) { \
    REAL(int, #name, int, const char *, struct stat *, int);                         \
    return moved(real(folder, path, found, flags), found);                           \
  }

BY_PATH(stat)
BY_PATH(lstat)
BY_DESCRIPTOR(fstat)
BY_FOLDER(fstatat)

/* On 64 bits these are the same calls by the names that programs built for large files use. */
int stat64(const char *restrict path, struct stat64 *restrict found) { return stat(path, (struct stat *)found); }
int lstat64(const char *restrict path, struct stat64 *restrict found) { return lstat(path, (struct stat *)found); }
int fstat64(int descriptor, struct stat64 *found) { return fstat(descriptor, (struct stat *)found); }
int fstatat64(int folder, const char *restrict path, struct stat64 *restrict found, int flags) {
  return fstatat(folder, path, (struct stat *)found, flags);
}
