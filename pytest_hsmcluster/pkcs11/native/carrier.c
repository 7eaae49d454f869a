#define _GNU_SOURCE
#include "carrier.h"

#include "frame.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static _Atomic(exchange) callback;
static atomic_int gone, initialized;
static atomic_ulong era;  /* of connections: one of an earlier era is closed and made anew */

struct connection {
    int socket;
    unsigned long era;
};

static pthread_key_t of_thread;
static pthread_once_t once = PTHREAD_ONCE_INIT;

EXPORTED void hsmcluster_carry(exchange function);

/* Python hands its function over, and takes it out again (NULL) before the interpreter ends. */
EXPORTED void hsmcluster_carry(exchange function)
{
    atomic_store(&gone, function == NULL);
    atomic_store(&callback, function);
    if (function == NULL)
        atomic_store(&initialized, 0);
}

static void end_connection(void *ended)
{
    struct connection *connection = ended;
    if (connection->socket >= 0)
        close(connection->socket);
    free(connection);
}

/* A forked child has the memory of its parent, but nobody there who would answer; the parent's connections are the
 * parent's.  It has to call C_Initialize. */
static void be_a_child(void)
{
    atomic_store(&callback, (exchange)NULL);
    atomic_store(&gone, 0);
    atomic_store(&initialized, 0);
    atomic_fetch_add(&era, 1);
}

static void prepare(void)
{
    pthread_key_create(&of_thread, end_connection);
    pthread_atfork(NULL, NULL, be_a_child);
}

__attribute__((constructor)) static void loaded(void)
{
    pthread_once(&once, prepare);
}

enum carrier carrier(void)
{
    if (atomic_load(&callback) != NULL)
        return CALLBACK;
    if (atomic_load(&gone))
        return GONE;
    const char *path = getenv(SOCKET_VARIABLE);
    return path != NULL && *path != '\0' ? SOCKET : NOBODY;
}

int started(void)
{
    return atomic_load(&initialized);
}

void set_started(int value)
{
    atomic_store(&initialized, value);
}

void hang_up(void)
{
    atomic_fetch_add(&era, 1);
}

void complain(const char *what)
{
    fprintf(stderr, "hsmcluster: %s\n", what);
}

static int send_all(int socket, const unsigned char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(socket, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        bytes += sent;
        length -= (size_t)sent;
    }
    return 1;
}

static int receive_all(int socket, unsigned char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t received = recv(socket, bytes, length, 0);
        if (received < 0 && errno == EINTR)
            continue;
        if (received <= 0)
            return 0;
        bytes += received;
        length -= (size_t)received;
    }
    return 1;
}

static int send_frame(int socket, const unsigned char *frame, size_t length)
{
    unsigned char size[4] = {(unsigned char)length, (unsigned char)(length >> 8), (unsigned char)(length >> 16),
                             (unsigned char)(length >> 24)};
    return send_all(socket, size, sizeof size) && send_all(socket, frame, length);
}

/* Connect, and say who it is: connections of one process in one era are those of one application. */
static int connected(unsigned long now)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv(SOCKET_VARIABLE);
    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0)
        return -1;
    struct writer hello;
    begin(&hello, 64);
    put_number(&hello, 0);
    put_number(&hello, (uint64_t)getpid());
    put_number(&hello, now);
    if (connect(made, (struct sockaddr *)&address, sizeof address) != 0 ||
        !send_frame(made, hello.bytes, hello.length)) {
        close(made);
        return -1;
    }
    return made;
}

static struct connection *connection_here(void)
{
    struct connection *here = pthread_getspecific(of_thread);
    unsigned long now = atomic_load(&era);
    if (here == NULL) {
        here = malloc(sizeof *here);
        if (here == NULL)
            return NULL;
        here->socket = -1;
        here->era = now;
        if (pthread_setspecific(of_thread, here) != 0) {
            free(here);
            return NULL;
        }
    }
    if (here->socket >= 0 && here->era != now) {
        close(here->socket);
        here->socket = -1;
    }
    if (here->socket < 0) {
        here->era = now;
        here->socket = connected(now);
    }
    return here;
}

static long over_socket(const unsigned char *request, size_t length, unsigned char *answer, size_t room)
{
    struct connection *here = connection_here();
    if (here == NULL || here->socket < 0)
        return 0;
    unsigned char size[4];
    if (send_frame(here->socket, request, length) && receive_all(here->socket, size, sizeof size)) {
        size_t told = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
        if (told > 0 && told <= room && receive_all(here->socket, answer, told))
            return (long)told;
    }
    /* Nothing that comes later on this connection can be trusted. */
    close(here->socket);
    here->socket = -1;
    return 0;
}

long carry(const unsigned char *request, size_t length, unsigned char *answer, size_t room)
{
    exchange function = atomic_load(&callback);
    if (function != NULL)
        return function(request, length, answer, room);
    return over_socket(request, length, answer, room);
}
