#include "frame.h"

#include <stdlib.h>
#include <string.h>

void begin(struct writer *frame, size_t limit)
{
    frame->bytes = frame->own;
    frame->room = sizeof frame->own;
    frame->length = 0;
    frame->limit = limit;
    frame->failed = 0;
}

void discard(struct writer *frame)
{
    /* It may have held a PIN or a key. */
    volatile unsigned char *wiped = frame->bytes;
    for (size_t i = 0; i < frame->length; i++)
        wiped[i] = 0;
    if (frame->bytes != frame->own)
        free(frame->bytes);
}

static int has_room(struct writer *frame, size_t more)
{
    if (frame->failed || more > frame->limit - frame->length)
        return 0;
    if (more > frame->room - frame->length) {
        size_t room = frame->room * 2;
        if (room - frame->length < more)
            room = frame->length + more;
        /* No realloc: it would leave the old bytes behind. */
        unsigned char *moved = malloc(room);
        if (moved == NULL)
            return 0;
        memcpy(moved, frame->bytes, frame->length);
        size_t length = frame->length;
        discard(frame);
        frame->bytes = moved;
        frame->length = length;
        frame->room = room;
    }
    return 1;
}

void put(struct writer *frame, const void *bytes, size_t length)
{
    if (!has_room(frame, length)) {
        frame->failed = 1;
        return;
    }
    if (length > 0)
        memcpy(frame->bytes + frame->length, bytes, length);
    frame->length += length;
}

void put_number(struct writer *frame, uint64_t number)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    put(frame, bytes, sizeof bytes);
}

void put_bytes(struct writer *frame, const void *bytes, uint64_t length)
{
    if (bytes == NULL && length > 0) {
        put_number(frame, ABSENT);
        return;
    }
    put_number(frame, length);
    if (length > frame->limit)
        frame->failed = 1;
    else
        put(frame, bytes, (size_t)length);
}

const unsigned char *get(struct reader *frame, uint64_t length)
{
    const unsigned char *found = frame->at;
    if (frame->failed || length > (uint64_t)(frame->end - frame->at)) {
        frame->failed = 1;
        return NULL;
    }
    frame->at += length;
    return found;
}

uint64_t get_number(struct reader *frame)
{
    const unsigned char *bytes = get(frame, 8);
    uint64_t number = 0;
    for (int i = 0; bytes != NULL && i < 8; i++)
        number |= (uint64_t)bytes[i] << 8 * i;
    return number;
}

const unsigned char *get_bytes(struct reader *frame, uint64_t *length)
{
    *length = get_number(frame);
    const unsigned char *found = get(frame, *length);
    if (found == NULL)
        *length = 0;
    return found;
}
