/* Who carries a frame to the cluster and brings the answer?
 *
 * In the process of the test a function of Python's.  In any other process a Unix socket, whose path is in the
 * environment; each thread has a connection of its own, so that there is nothing to lock. */

#ifndef HSMCLUSTER_CARRIER_H
#define HSMCLUSTER_CARRIER_H

#include <stddef.h>

#define SOCKET_VARIABLE "HSMCLUSTER_PKCS11_SOCKET"

/* Answers a frame: returns the length of the answer, which is written to `answer`; 0 or less is a failure. */
typedef long (*exchange)(const unsigned char *request, unsigned long length, unsigned char *answer,
                         unsigned long room);

enum carrier { NOBODY, CALLBACK, SOCKET, GONE };  /* GONE: the interpreter has ended, and with it the callback */

enum carrier carrier(void);
long carry(const unsigned char *request, size_t length, unsigned char *answer, size_t room);
int started(void);          /* whether C_Initialize has succeeded in this process, and C_Finalize has not */
void set_started(int value);
void hang_up(void);         /* close the connections of all threads: each notices at its next call */
void complain(const char *what);

#endif
