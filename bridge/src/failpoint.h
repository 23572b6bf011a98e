/*
 * failpoint.h - named places where a test makes the library fail, stop or die.
 *
 * In the shipped build PSTI_FAILPOINT is the constant false and failpoint.c is empty. In the test
 * build (-DPSTI_FAILPOINTS) the environment variable PENSTOCK_FAILPOINTS says what happens:
 *
 *   PENSTOCK_FAILPOINTS="sink.before_commit=kill@2,source.locked=wait:/tmp/x/locked"
 *
 *   error      the macro is true: the code there returns an error of its own choice
 *   kill       the process gets SIGKILL
 *   pause:MS   the thread sleeps
 *   wait:PATH  makes the file PATH.reached, then waits until PATH exists (60 s at most): lets a
 *              test act at exactly this place without guessing a time
 *   @N         after any of them: only at the N-th passing, from 1; without it at each
 */
#ifndef PSTI_FAILPOINT_H
#define PSTI_FAILPOINT_H

#include <stdbool.h>

#ifdef PSTI_FAILPOINTS
bool psti_failpoint(const char *name);
#define PSTI_FAILPOINT(name) psti_failpoint(name)
#else
#define PSTI_FAILPOINT(name) (false)
#endif

#endif /* PSTI_FAILPOINT_H */
