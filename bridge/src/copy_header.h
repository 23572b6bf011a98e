/* copy_header.h - how a binary COPY begins ("Binary Format" on the manual's COPY page). */
#ifndef PSTI_COPY_HEADER_H
#define PSTI_COPY_HEADER_H

#define PSTI_COPY_SIGNATURE "PGCOPY\n\377\r\n" /* its terminating zero is part of it */
#define PSTI_COPY_SIGNATURE_BYTES 11
#define PSTI_COPY_HEADER_BYTES 19 /* signature, flags, length of the extension */
#define PSTI_COPY_CRITICAL_FLAGS 0xffff0000u

#endif /* PSTI_COPY_HEADER_H */
