/* Who carries a frame to the cluster and brings the answer?
 *
 * In the process of the test a function of Python's.  In any other process a Unix socket, whose path is in the
 * environment; calls that go on at once have a connection each, so that nothing is locked while one waits. */

#ifndef HSMCLUSTER_CARRIER_H
#define HSMCLUSTER_CARRIER_H

#include <stddef.h>

#define SOCKET_VARIABLE "HSMCLUSTER_PKCS11_SOCKET"

enum { SEQUENCE = 4 };  /* bytes of the number of a call, with which both frames begin */

/* Answers a frame: returns the length of the answer, which is written to `answer`; 0 or less is a failure. */
typedef long (*exchange)(const unsigned char *request, unsigned long length, unsigned char *answer,
                         unsigned long room);

enum carrier { NOBODY, CALLBACK, SOCKET, GONE };  /* GONE: the interpreter has ended, and with it the callback */

enum carrier carrier(void);
long carry(const unsigned char *request, size_t length, unsigned char *answer, size_t room);
int started(void);          /* whether C_Initialize has succeeded in this process, and C_Finalize has not */
void set_started(int value);
void remember_socket(void); /* where C_Initialize finds it in the environment */
void hang_up(void);         /* close all connections; one that is in use, after its call */
void complain(const char *what);

#endif
