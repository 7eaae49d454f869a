/* What is a frame: numbers and bytes behind each other, written and read within bounds.
 *
 * A number is 8 bytes, little-endian.  Bytes are their number, then they themselves.  Neither end trusts the other. */

#ifndef HSMCLUSTER_FRAME_H
#define HSMCLUSTER_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define ABSENT UINT64_MAX  /* a length, where there is nothing at all */

struct writer {
    unsigned char *bytes;
    size_t length, room, limit;
    int failed;               /* too long, or no memory: everything after it is left out */
    unsigned char own[1024];  /* most frames fit here */
};

struct reader {
    const unsigned char *at, *end;
    int failed;               /* it ended too early: everything after it reads as 0 */
};

void begin(struct writer *frame, size_t limit);
void discard(struct writer *frame);
void put(struct writer *frame, const void *bytes, size_t length);
void put_number(struct writer *frame, uint64_t number);
void put_bytes(struct writer *frame, const void *bytes, uint64_t length);  /* NULL with a length is ABSENT */

uint64_t get_number(struct reader *frame);
const unsigned char *get(struct reader *frame, uint64_t length);           /* NULL if there are fewer */
const unsigned char *get_bytes(struct reader *frame, uint64_t *length);    /* likewise */

#endif
