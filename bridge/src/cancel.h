/* cancel.h - the inside of pst_canceller. */
#ifndef PSTI_CANCEL_H
#define PSTI_CANCEL_H

#include "error.h"

/*
 * The descriptor that becomes readable, for good, when the switch is thrown: for poll. -1 for a NULL
 * canceller.
 */
int psti_canceller_fd(const pst_canceller *canceller);

#endif /* PSTI_CANCEL_H */
